//! Where the books do not answer for the kernel, and why.
//!
//! A rule does not let anything pass: it says what the kernel has to answer instead, and
//! the pages are compared all the same. Only calls under `OwnMemory` are not made, and of
//! `FileEnds` the answer is not compared.

/// A named difference between the kernel and the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    OwnMemory,
    Populate,
    FileEnds,
    Arguments,
    NoFile,
    Rights,
    FileLimit,
    LowAddress,
    AddressIsError,
    NoLength,
    AdviceWraps,
    Apart,
    OldLengthWraps,
    OldRangeLeaves,
    OntoItself,
    HintChecked,
    Before617,
}

impl Rule {
    pub(crate) const ALL: [Self; 17] = [
        Self::OwnMemory,
        Self::Populate,
        Self::FileEnds,
        Self::Arguments,
        Self::NoFile,
        Self::Rights,
        Self::FileLimit,
        Self::LowAddress,
        Self::AddressIsError,
        Self::NoLength,
        Self::AdviceWraps,
        Self::Apart,
        Self::OldLengthWraps,
        Self::OldRangeLeaves,
        Self::OntoItself,
        Self::HintChecked,
        Self::Before617,
    ];

    /// What the kernel does, and why the books do not.
    pub(crate) const fn why(self) -> &'static str {
        match self {
            Self::OwnMemory => "not made: the child lives in the memory around the window",
            Self::Populate => "MADV_POPULATE only makes memory touched, or says why it cannot",
            Self::FileEnds => "answer not compared: MADV_POPULATE of files, which may end before",
            Self::Arguments => "EINVAL: flags and arguments that no verb has",
            Self::NoFile => "EBADF: the books know no descriptors",
            Self::Rights => "EACCES: the books carry NO_WRITE, and the embedder enforces it",
            Self::FileLimit => {
                "EOVERFLOW: files end at 2^63 - 1, which is found out late; in the books at 2^64"
            }
            Self::LowAddress => "EPERM, or ENOMEM: only the privileged map below vm.mmap_min_addr",
            Self::AddressIsError => "the last 4095 addresses, given to mmap, come back as errors",
            Self::NoLength => "0: mprotect and madvise of nothing succeed; a verb refuses it",
            Self::AdviceWraps => "EINVAL: madvise past 2^64; of flags the books say ENOMEM",
            Self::Apart => "EFAULT: history keeps areas apart that the books have as one mapping",
            Self::OldLengthWraps => "an old length that rounds to 2^64 duplicates, as 0 does",
            Self::OldRangeLeaves => "mremap looks at that part of the old range which it needs",
            Self::OntoItself => "EFAULT: a duplicate onto its source unmaps that; the books refuse",
            Self::HintChecked => "EINVAL: MREMAP_DONTUNMAP checks a new address that is but a hint",
            Self::Before617 => "mremap before Linux 6.17: other checks, half done when refused",
        }
    }
}
