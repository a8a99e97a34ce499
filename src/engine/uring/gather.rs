//! A send of several chunks at once: the description that `sendmsg` wants.
//!
//! The kernel reads the description when the operation is submitted, and the bytes until it
//! completes; both stay here until then. Descriptions are used again, so a send costs no memory.

use crate::conn::Load;
use crate::limits::SEND_PIECES_MAX;
use crate::worker::chunks::Chunks;

/// A load in several pieces on its way.
pub(super) struct Gather {
    load: Load,
    header: libc::msghdr,
    pieces: [libc::iovec; SEND_PIECES_MAX],
}

impl std::fmt::Debug for Gather {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gather").field("load", &self.load).finish_non_exhaustive()
    }
}

impl Gather {
    /// A description of nothing.
    pub(super) fn new() -> Box<Self> {
        const NOTHING: libc::iovec = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // A message on a stream has no name, no control data and no flags.
        let header = libc::msghdr {
            msg_name: std::ptr::null_mut(),
            msg_namelen: 0,
            msg_iov: std::ptr::null_mut(),
            msg_iovlen: 0,
            msg_control: std::ptr::null_mut(),
            msg_controllen: 0,
            msg_flags: 0,
        };
        Box::new(Self { load: Load::EMPTY, header, pieces: [NOTHING; SEND_PIECES_MAX] })
    }

    /// Describes a load, as much of it as fits, and keeps it. The description is good as long as
    /// the box is not opened.
    pub(super) fn describe(&mut self, load: Load, chunks: &Chunks) -> &libc::msghdr {
        let mut count = 0;
        for (slot, piece) in self.pieces.iter_mut().zip(chunks.pieces(&load)) {
            // The kernel only reads; the type is shared with receives.
            let iov_base = piece.as_ptr().cast_mut().cast();
            *slot = libc::iovec { iov_base, iov_len: piece.len() };
            count += 1;
        }
        self.load = load;
        self.header.msg_iov = self.pieces.as_mut_ptr();
        self.header.msg_iovlen = count;
        &self.header
    }

    /// The load, when the kernel is done with it.
    pub(super) fn take(&mut self) -> Load {
        std::mem::replace(&mut self.load, Load::EMPTY)
    }
}
