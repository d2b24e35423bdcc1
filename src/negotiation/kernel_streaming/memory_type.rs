//! Memory types of kernel streaming.

use std::fmt;

/// Kind of memory: a GUID, as the number that its text form shows.
///
/// ```
/// use ks_allocator::kernel_streaming::MemoryType;
///
/// assert_eq!(MemoryType::USER.to_string(), "user memory");
/// assert_eq!(MemoryType(1).to_string(), "memory of type 00000000-0000-0000-0000-000000000001");
/// ```
#[doc(alias = "KSMEMORY_TYPE")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MemoryType(pub u128);

impl MemoryType {
    /// Any memory.
    #[doc(alias(
        "KSMEMORY_TYPE_WILDCARD",
        "KSMEMORY_TYPE_DONT_CARE",
        "KS_TYPE_DONT_CARE"
    ))]
    pub const ANY: Self = Self(0);
    /// Any memory of the system.
    #[doc(alias = "KSMEMORY_TYPE_SYSTEM")]
    pub const SYSTEM: Self = Self(0x091BB638_603F_11D1_B067_00A0C9062802);
    /// Memory of a process.
    #[doc(alias = "KSMEMORY_TYPE_USER")]
    pub const USER: Self = Self(0x8CB0FC28_7893_11D1_B069_00A0C9062802);
    /// Memory of the kernel that can be paged out.
    #[doc(alias = "KSMEMORY_TYPE_KERNEL_PAGED")]
    pub const KERNEL_PAGED: Self = Self(0xD833F8F8_7894_11D1_B069_00A0C9062802);
    /// Memory of the kernel that stays resident.
    #[doc(alias = "KSMEMORY_TYPE_KERNEL_NONPAGED")]
    pub const KERNEL_NONPAGED: Self = Self(0x4A6D5FC4_7895_11D1_B069_00A0C9062802);
    /// Memory of a device, of unknown kind.
    #[doc(alias = "KSMEMORY_TYPE_DEVICE_UNKNOWN")]
    pub const DEVICE_UNKNOWN: Self = Self(0x091BB639_603F_11D1_B067_00A0C9062802);
}

impl fmt::Display for MemoryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::ANY => "any memory",
            Self::SYSTEM => "system memory",
            Self::USER => "user memory",
            Self::KERNEL_PAGED => "paged kernel memory",
            Self::KERNEL_NONPAGED => "nonpaged kernel memory",
            Self::DEVICE_UNKNOWN => "device memory of unknown kind",
            Self(guid) => {
                let digits = format!("{guid:032X}");
                let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
                return write!(f, "memory of type {}", parts.join("-"));
            }
        })
    }
}
