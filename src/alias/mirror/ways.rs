//! What can be promised about a mirror, how, and whether this machine can.

use super::super::sys::Errno;
use super::super::uffd::{self, Reach, Writes, feature};
use super::physical;
use core::fmt;

/// What a [`Mirror`](super::Mirror) promises about the bytes that it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Guarantee {
    /// The same pages: what is written to the source is seen at once.
    Live,
    /// All of the source as it was at one instant, whatever happens to it later.
    Snapshot,
    /// Each page as it was when it was first read, the same for all who read it.
    ///
    /// Pages are of different times, and a page that somebody wrote just then can be
    /// seen half-way: it is copied while it changes. (With eight bytes for a store, no
    /// such store is seen torn; two stores can be seen one without the other.)
    FirstTouch,
}

impl Guarantee {
    /// The ways that keep it, the preferred one first.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::alias::Guarantee;
    ///
    /// // Before anything is tried: which of them could be taken here?
    /// for way in Guarantee::Snapshot.ways() {
    ///     match way.check() {
    ///         Ok(()) => println!("{way} can be had"),
    ///         Err(missing) => println!("{way} cannot: {missing}"),
    ///     }
    /// }
    /// assert_eq!(Guarantee::Snapshot.ways().len(), 2);
    /// ```
    pub const fn ways(self) -> &'static [Way] {
        match self {
            Self::Live => &[Way::Shared, Way::Physical],
            Self::Snapshot => &[Way::WriteProtect, Way::CheckedCopy],
            Self::FirstTouch => &[Way::FaultHandler],
        }
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "a live mirror",
            Self::Snapshot => "a snapshot",
            Self::FirstTouch => "a mirror as of the first touch",
        })
    }
}

/// How a mirror is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Way {
    /// The source is shared memory and is mapped a second time (`mremap` with an old
    /// length of zero). [`Guarantee::Live`].
    Shared,
    /// The frames of the source are mapped through `/dev/mem`, whatever memory it is.
    /// [`Guarantee::Live`], for as long as the pages stay where they are.
    ///
    /// That is seldom allowed: kernels of distributions keep `/dev/mem` from memory that
    /// they manage (`STRICT_DEVMEM`), and show frames to `CAP_SYS_ADMIN` alone. The
    /// source is locked, its pages are made to be there for writing, and it is kept out
    /// of children, until the mirror is dropped; a child that needs it, as it needs its
    /// heap and stack, does not come far. Nothing keeps the kernel from moving a page all
    /// the same: compaction and migration between nodes of memory move locked pages, too,
    /// and a page that a child got before is copied when somebody writes to it
    /// (copy-on-write). The mirror then shows a frame that is somebody else's.
    /// [`Mirror::is_current`](super::Mirror::is_current) looks again.
    Physical,
    /// The source is protected against writes; a page is copied when it is read in the
    /// mirror, or before the first write to it goes on. [`Guarantee::Snapshot`].
    ///
    /// A write waits for that one copy, also one that the kernel makes for somebody
    /// (`read` into the source). What writes past the protection of pages is not held
    /// up: a device to which the kernel gave the pages before (`O_DIRECT` under way,
    /// registered buffers of `io_uring`).
    WriteProtect,
    /// The source is copied at once, while the kernel notes who writes to it, and what
    /// was written meanwhile is copied again until nothing was. [`Guarantee::Snapshot`].
    ///
    /// It needs no privilege, and a source that holds still for as long as it takes to
    /// look at it once.
    CheckedCopy,
    /// A thread copies a page when it is first read. [`Guarantee::FirstTouch`].
    FaultHandler,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Shared, Self::Physical, Self::WriteProtect, Self::CheckedCopy, Self::FaultHandler];

    /// What a mirror that is made like this promises.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::alias::{Guarantee, Way};
    ///
    /// assert_eq!(Way::CheckedCopy.guarantee(), Guarantee::Snapshot);
    /// assert!(Way::ALL.iter().all(|way| way.guarantee().ways().contains(way)));
    /// ```
    pub const fn guarantee(self) -> Guarantee {
        match self {
            Self::Shared | Self::Physical => Guarantee::Live,
            Self::WriteProtect | Self::CheckedCopy => Guarantee::Snapshot,
            Self::FaultHandler => Guarantee::FirstTouch,
        }
    }

    /// Whether this process can go this way on this machine.
    ///
    /// Nothing is changed: the kernel is asked for its features, and for
    /// [`Physical`](Self::Physical) the frame of a page of our own is mapped. What the
    /// source is like is another matter: that is looked at when a mirror of it is made.
    ///
    /// # Errors
    ///
    /// What is missing.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::alias::Way;
    ///
    /// assert_eq!(Way::Shared.check(), Ok(())); // any Linux, anybody
    /// ```
    pub fn check(self) -> Result<(), Missing> {
        let (reach, needed) = match self {
            Self::Shared => return Ok(()),
            Self::Physical => return physical::check(),
            _ => self.needs(),
        };
        let has = match (uffd::features(reach), reach) {
            (Ok(has), _) => has,
            (Err(errno), Reach::Kernel) if uffd::features(Reach::User).is_ok() => {
                return Err(Missing::Privilege { errno: errno.raw_os_error() });
            }
            (Err(errno), _) => return Err(Missing::Userfaultfd { errno: errno.raw_os_error() }),
        };
        let lacks = |(feature, ..): &&(u64, &str, &str)| needed & feature & !has != 0;
        match FEATURES.iter().find(lacks) {
            Some(&(_, feature, since)) => return Err(Missing::Feature { feature, since }),
            None if self != Self::CheckedCopy => return Ok(()),
            None => {}
        }
        let missing = |errno: Errno| Missing::Pagemap { errno: errno.raw_os_error() };
        Writes::open().map(drop).map_err(missing)
    }

    /// How far a userfaultfd for it has to reach, and the features that it has to have.
    pub(in super::super) const fn needs(self) -> (Reach, u64) {
        match self {
            Self::Shared | Self::Physical | Self::FaultHandler => (Reach::User, 0),
            Self::WriteProtect => (
                Reach::Kernel,
                feature::WRITE_PROTECT
                    | feature::UNPOPULATED
                    | feature::EVENT_REMAP
                    | feature::EVENT_REMOVE
                    | feature::EVENT_UNMAP,
            ),
            Self::CheckedCopy => {
                (Reach::User, feature::WRITE_PROTECT | feature::UNPOPULATED | feature::ASYNC)
            }
        }
    }
}

/// The features that a way can need, their names, and when Linux got them.
const FEATURES: [(u64, &str, &str); 6] = [
    (feature::EVENT_REMAP, "events for memory that moves", "4.11"),
    (feature::EVENT_REMOVE, "events for pages that are thrown away", "4.11"),
    (feature::EVENT_UNMAP, "events for memory that is unmapped", "4.11"),
    (feature::WRITE_PROTECT, "protection against writes", "5.7"),
    (feature::UNPOPULATED, "protection of pages that are not there yet", "6.4"),
    (feature::ASYNC, "a list of what is written", "6.7"),
];

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared => "mapping shared memory again",
            Self::Physical => "mapping physical memory",
            Self::WriteProtect => "copying before the source changes",
            Self::CheckedCopy => "copying at once",
            Self::FaultHandler => "copying at the first touch",
        })
    }
}

/// What a machine lacks, or does not let this process have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// There is no `userfaultfd`: the kernel was built without it, or a sandbox forbids
    /// the call.
    #[error("userfaultfd cannot be had: {}", std::io::Error::from_raw_os_error(*errno))]
    Userfaultfd {
        /// What the kernel answered.
        errno: i32,
    },
    /// Faults of the kernel may not be handled by this process, only those of code.
    ///
    /// That takes `CAP_SYS_PTRACE`, or `/dev/userfaultfd` with permission to open it
    /// (Linux 6.1), or `vm.unprivileged_userfaultfd` set to 1 by an administrator.
    #[error(
        "handling the kernel's faults is not permitted; it takes CAP_SYS_PTRACE, \
         access to /dev/userfaultfd, or vm.unprivileged_userfaultfd=1"
    )]
    Privilege {
        /// What the kernel answered.
        errno: i32,
    },
    /// The frames of memory cannot be mapped: there is no `/dev/mem`, it may not be
    /// opened, or the kernel keeps it from memory that it manages (`EPERM`, by
    /// `STRICT_DEVMEM`).
    #[error("/dev/mem does not show memory of processes: {}", std::io::Error::from_raw_os_error(*errno))]
    Device {
        /// What the kernel answered.
        errno: i32,
    },
    /// The kernel does not tell this process its frames: that takes `CAP_SYS_ADMIN`.
    #[error("/proc/self/pagemap does not tell frames; it takes CAP_SYS_ADMIN")]
    Frames,
    /// The process may not read its own `/proc/self/pagemap`, as after a change of its
    /// user (`PR_SET_DUMPABLE`), or there is none.
    #[error("/proc/self/pagemap cannot be read: {}", std::io::Error::from_raw_os_error(*errno))]
    Pagemap {
        /// What the kernel answered.
        errno: i32,
    },
    /// The kernel is too old for something, or was built without it.
    #[error("the kernel has no {feature} (Linux {since})")]
    Feature {
        /// What is missing.
        feature: &'static str,
        /// The first Linux that has it.
        since: &'static str,
    },
}
