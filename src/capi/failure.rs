//! Why the last call on a space was refused.

use super::status::Status;
use super::structs::AddrspaceError;
use crate::{Error, OpError, Update};
use core::ffi::c_int;
use core::fmt;

/// What a callback answered that was not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("code {0}")]
pub(super) struct Code(pub(super) c_int);

/// What makes the changes. One type for all calls from C: so each verb is compiled once.
pub(super) type Host<'a> = &'a mut dyn FnMut(Update<'_>) -> Result<(), Code>;

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// By the books, or by the callback.
    Op(OpError<Code>),
    /// By what is between C and them.
    Call(Status),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Op(OpError::Refused(error))
    }
}

impl From<OpError<Code>> for Failure {
    fn from(error: OpError<Code>) -> Self {
        Self::Op(error)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Call(status)
    }
}

/// What Linux calls it where it has no name among the errors of the books.
mod errno {
    pub(super) const ENOENT: i32 = 2;
    pub(super) const E2BIG: i32 = 7;
    pub(super) const EFAULT: i32 = 14;
    pub(super) const EBUSY: i32 = 16;
    pub(super) const EINVAL: i32 = 22;
    pub(super) const ECANCELED: i32 = 125;
}

impl Failure {
    pub(super) fn status(&self) -> Status {
        match self {
            Self::Op(OpError::Refused(error)) => error.into(),
            Self::Op(OpError::Handler { .. }) => Status::Handler,
            Self::Call(status) => *status,
        }
    }

    pub(super) fn describe(&self) -> AddrspaceError {
        let (at, handler) = match *self {
            Self::Op(OpError::Handler { at, source: Code(code) }) => (at, code),
            _ => (0, 0),
        };
        AddrspaceError {
            status: self.status().number(),
            sys_errno: self.errno(),
            handler,
            at,
            ..AddrspaceError::NONE
        }
    }

    fn errno(&self) -> i32 {
        match self {
            Self::Op(OpError::Refused(error)) => error.errno(),
            Self::Op(OpError::Handler { .. }) => errno::ECANCELED,
            Self::Call(Status::Nothing) => errno::ENOENT,
            Self::Call(Status::Busy) => errno::EBUSY,
            Self::Call(Status::Null) => errno::EFAULT,
            Self::Call(Status::Struct) => errno::E2BIG,
            Self::Call(_) => errno::EINVAL,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Op(error) => error.fmt(f),
            Self::Call(status) => f.write_str(status.text().to_str().unwrap_or_default()),
        }
    }
}
