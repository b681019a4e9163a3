//! Why a trace cannot be read.

use std::io;

/// A trace that cannot be read, and where reading stopped.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub(crate) struct TraceError {
    /// The line, counted from 1, at which reading stopped.
    pub(crate) line: u64,
    /// What is wrong with it.
    pub(crate) problem: Problem,
}

/// What is wrong with a trace.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// The file does not begin as gzip data do.
    #[error("not a gzip file")]
    NotGzip,
    /// The first line is not the one that this reader was written for.
    #[error("not a trace of version 1: the first line is {0:?}, not \"memtrace 1\"")]
    Version(String),
    /// The data end before the line that closes a trace.
    #[error("the trace is truncated: it ends before its closing `Z` line")]
    Truncated,
    /// A line does not follow the format.
    #[error("{what} in {text:?}")]
    Bad {
        /// What is missing or wrong.
        what: &'static str,
        /// The line.
        text: String,
    },
    /// The record contradicts those before it.
    #[error("{0}")]
    Contradiction(String),
    /// The compressed data are damaged, or the file cannot be read.
    #[error("the data cannot be read: {0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        // A gzip stream that stops short reports this kind.
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Io(error) }
    }
}
