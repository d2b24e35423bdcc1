//! Guard pages: frames that cannot be accessed while they are free, and inaccessible pages between
//! frames, so that an invalid access crashes where it happens.
//!
//! In a guarded segment no two frames share a page, and there is a guard page between any two
//! frames (see [`FrameLayout`](crate::framing::FrameLayout)). The commit makes all pages
//! inaccessible. The pages of a frame become accessible when it is acquired, and inaccessible when
//! it is released. An access to an inaccessible page faults, like one through any wild pointer. A
//! fault handler first writes a message that describes the slot.
//!
//! Each file imports only files above it in this table:
//!
//! | file | contents |
//! |---|---|
//! | `line.rs` | message of bounded length, built without heap |
//! | `protection.rs` | access rights of a segment's pages |
//! | `message.rs` | the text about an invalid access |
//! | `registry.rs` | the set of guarded segments, readable in a signal handler |
//! | `report.rs` | registration of segments, and reports from the fault handlers |
//!
//! The fault handlers themselves are in `sys`, in a file per platform.

mod line;
mod message;
mod protection;
mod registry;
mod report;

pub(crate) use self::message::DescribeSlot;
pub(crate) use self::protection::GuardPages;
pub(super) use self::report::Registration;
