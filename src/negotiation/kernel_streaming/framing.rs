//! The two structures, and the requirements that they become.

use std::cmp::Reverse;
use std::mem;

use crate::framing::Framing;
use crate::mode::AllocatorMode;
use crate::negotiation::agreement::Agreement;
use crate::negotiation::requirements::Requirements;
use crate::negotiation::sizes::Sizes;

use super::bytes::{Reader, Writer};
use super::error::KsFramingError;
use super::flags::{FramingFlags, RequirementFlags};
use super::memory_type::MemoryType;
use super::ranges::{Compression, SizeRange, WeightedRange};

/// Weight of all wishes.
const WEIGHT: u32 = 1;

/// Framing that a pin requires, as a list of alternatives.
///
/// ```
/// use ks_allocator::kernel_streaming::{AllocatorFramingEx, FramingItem};
///
/// let framing = AllocatorFramingEx::new([FramingItem::default()]);
/// let bytes = framing.to_bytes();
/// assert_eq!(bytes.len(), 112);
/// assert_eq!(AllocatorFramingEx::from_bytes(&bytes)?, framing);
/// # Ok::<(), ks_allocator::kernel_streaming::KsFramingError>(())
/// ```
#[doc(alias = "KSALLOCATOR_FRAMING_EX")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AllocatorFramingEx {
    /// Reserved.
    #[doc(alias = "PinFlags")]
    pub pin_flags: u32,
    /// Ratio of the sizes of the frames that the filter makes of those of this pin.
    #[doc(alias = "OutputCompression")]
    pub output_compression: Compression,
    /// Reserved.
    #[doc(alias = "PinWeight")]
    pub pin_weight: u32,
    /// The alternatives.
    #[doc(alias("FramingItem", "CountItems"))]
    pub items: Vec<FramingItem>,
}

/// One of the alternatives of a pin.
///
/// By default all fields are 0: the pin can do with any frames.
///
/// ```
/// use ks_allocator::kernel_streaming::{FramingItem, SizeRange};
/// use ks_allocator::negotiate;
///
/// let physical_range = SizeRange { min: 4_096, max: 8_192, step: 512 };
/// let item = FramingItem { physical_range, ..FramingItem::default() };
/// assert_eq!(negotiate(&[item.requirements("pin")?])?.framing().frame_size, 4_096);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "KS_FRAMING_ITEM")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FramingItem {
    /// Kind of memory.
    #[doc(alias = "MemoryType")]
    pub memory_type: MemoryType,
    /// GUID of the bus by which the memory is reached, or 0.
    #[doc(alias = "BusType")]
    pub bus_type: u128,
    /// 0, or [`MUST_ALLOCATE`](RequirementFlags::MUST_ALLOCATE).
    #[doc(alias = "MemoryFlags")]
    pub memory_flags: u32,
    /// Not used.
    #[doc(alias = "BusFlags")]
    pub bus_flags: u32,
    /// [`RequirementFlags`] and [`FramingFlags`]. Bit `0x10` could be one of either, and has no
    /// effect.
    #[doc(alias = "Flags")]
    pub flags: u32,
    /// Maximum number of frames that are out at a time; 0 for no requirement.
    #[doc(alias = "Frames")]
    pub frames: u32,
    /// Alignment of the frames in bytes, less one. With [`FramingFlags::TWO_D_BUFFER_REQUIRED`],
    /// the number of bytes from row to row, as a signed number.
    #[doc(alias("FileAlignment", "FramePitch"))]
    pub alignment_or_pitch: u32,
    /// Weight of this alternative among those of the pin.
    #[doc(alias = "MemoryTypeWeight")]
    pub weight: u32,
    /// Frame sizes that are possible.
    #[doc(alias = "PhysicalRange")]
    pub physical_range: SizeRange,
    /// Frame sizes that are best.
    #[doc(alias = "FramingRange")]
    pub framing_range: WeightedRange,
}

/// Framing that a pin requires, in the older structure without alternatives.
///
/// ```
/// use ks_allocator::kernel_streaming::{AllocatorFraming, RequirementFlags};
/// use ks_allocator::{Framing, negotiate};
///
/// let framing = AllocatorFraming {
///     flags: RequirementFlags::SYSTEM_MEMORY.bits(),
///     frames: 4,
///     frame_size: 1_000,
///     alignment_or_pitch: 7,
///     ..AllocatorFraming::default()
/// };
/// assert_eq!(AllocatorFraming::from_bytes(&framing.to_bytes()), Ok(framing));
/// let agreement = negotiate(&[framing.requirements("pin")?])?;
/// assert_eq!(agreement.framing(), Framing::new(4, 1_000).alignment(8));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "KSALLOCATOR_FRAMING")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AllocatorFraming {
    /// [`RequirementFlags`] of a pin.
    #[doc(alias("OptionsFlags", "RequirementsFlags"))]
    pub flags: u32,
    /// Pool of the kernel that memory is allocated from.
    #[doc(alias = "PoolType")]
    pub pool_type: u32,
    /// Maximum number of frames that are out at a time; 0 for no requirement.
    #[doc(alias = "Frames")]
    pub frames: u32,
    /// Frame size in bytes, with what lies before and behind the frame; 0 for no requirement.
    #[doc(alias = "FrameSize")]
    pub frame_size: u32,
    /// Alignment of the frames in bytes, less one. With [`FramingFlags::TWO_D_BUFFER_REQUIRED`],
    /// the number of bytes from row to row, as a signed number.
    #[doc(alias("FileAlignment", "FramePitch"))]
    pub alignment_or_pitch: u32,
    /// Reserved.
    #[doc(alias = "Reserved")]
    pub reserved: u32,
}

impl AllocatorFramingEx {
    const FIXED_BYTES: usize = 24;

    /// Makes a framing of these items, without compression.
    ///
    /// ```
    /// # use ks_allocator::kernel_streaming::{AllocatorFramingEx, Compression};
    /// assert_eq!(AllocatorFramingEx::new([]).output_compression, Compression::NONE);
    /// ```
    #[must_use]
    pub fn new(items: impl IntoIterator<Item = FramingItem>) -> Self {
        Self {
            items: items.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Reads a `KSALLOCATOR_FRAMING_EX`: all bytes, and no others.
    ///
    /// # Errors
    ///
    /// Returns an error if the number of bytes is not that of `CountItems` items, if there is no
    /// item, and for compressions, masks, ranges and steps that are not defined. Items with memory
    /// that a pool does not have are read.
    ///
    /// ```
    /// # use ks_allocator::kernel_streaming::{AllocatorFramingEx, FramingItem};
    /// let mut bytes = AllocatorFramingEx::new([FramingItem::default(); 2]).to_bytes();
    /// bytes[24 + 88 + 48] = 6; // the alignment mask of the second item
    /// assert_eq!(
    ///     AllocatorFramingEx::from_bytes(&bytes).unwrap_err().to_string(),
    ///     "item 1: an alignment mask of 0x6 is not a power of two less one"
    /// );
    /// bytes[0] = 200; // `CountItems`
    /// assert_eq!(
    ///     AllocatorFramingEx::from_bytes(&bytes).unwrap_err().to_string(),
    ///     "a framing with a `CountItems` of 200 has 17624 bytes, and these are 200"
    /// );
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KsFramingError> {
        let min = Self::FIXED_BYTES;
        let Some((fixed, items)) = bytes.split_at_checked(min) else {
            let bytes = bytes.len();
            return Err(KsFramingError::TooShort { bytes, min });
        };
        let mut fixed = Reader(fixed);
        let count = fixed.number();
        let expected = min as u64 + u64::from(count) * FramingItem::BYTES as u64;
        if bytes.len() as u64 != expected {
            return Err(KsFramingError::ItemCount {
                items: count,
                bytes: bytes.len(),
                expected,
            });
        }
        let this = Self {
            pin_flags: fixed.number(),
            output_compression: Compression {
                numerator: fixed.number(),
                denominator: fixed.number(),
                margin: fixed.number(),
            },
            pin_weight: fixed.number(),
            items: items
                .chunks_exact(FramingItem::BYTES)
                .map(|item| FramingItem::read(&mut Reader(item)))
                .collect(),
        };
        this.check()?;
        Ok(this)
    }

    fn check(&self) -> Result<(), KsFramingError> {
        self.output_compression.check()?;
        if self.items.is_empty() {
            return Err(KsFramingError::NoItems);
        }
        for (number, item) in self.items.iter().enumerate() {
            let checked = item.limits();
            checked.map_err(|error| of_item(number, error))?;
        }
        Ok(())
    }

    /// Returns the bytes of a `KSALLOCATOR_FRAMING_EX`. [`from_bytes`](Self::from_bytes) reads an
    /// equal framing of them, if all fields are right.
    ///
    /// ```
    /// # use ks_allocator::kernel_streaming::{AllocatorFramingEx, FramingItem};
    /// let framing = AllocatorFramingEx::new([FramingItem::default(); 3]);
    /// assert_eq!(framing.to_bytes()[0], 3);
    /// ```
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Compression {
            numerator,
            denominator,
            margin,
        } = self.output_compression;
        // More than 2^32 items would take 352 GiB.
        let count = u32::try_from(self.items.len()).unwrap_or(u32::MAX);
        let mut writer = Writer::default();
        writer.numbers([count, self.pin_flags]);
        writer.numbers([numerator, denominator, margin, self.pin_weight]);
        for item in &self.items {
            item.write(&mut writer);
        }
        writer.0
    }

    /// Returns the requirements of each item that a pool can meet, those of larger weight first.
    /// They are for [`negotiate_alternatives`](crate::negotiate_alternatives).
    ///
    /// # Errors
    ///
    /// Returns the error of the first item if a pool can meet none.
    ///
    /// ```
    /// # use ks_allocator::kernel_streaming::{AllocatorFramingEx, FramingItem, MemoryType};
    /// let item = |memory_type| FramingItem { memory_type, ..FramingItem::default() };
    /// let items = [item(MemoryType::DEVICE_UNKNOWN), item(MemoryType::USER)];
    /// assert_eq!(AllocatorFramingEx::new(items).alternatives("pin")?.len(), 1);
    /// let error = AllocatorFramingEx::new([items[0]]).alternatives("pin").unwrap_err();
    /// assert_eq!(error.to_string(), "item 0: a pool has no device memory of unknown kind");
    /// # Ok::<(), ks_allocator::kernel_streaming::KsFramingError>(())
    /// ```
    pub fn alternatives(&self, name: &str) -> Result<Vec<Requirements>, KsFramingError> {
        let mut items: Vec<_> = self.items.iter().enumerate().collect();
        items.sort_by_key(|(_, item)| Reverse(item.weight));
        let mut usable = Vec::new();
        let mut unusable = Vec::new();
        for (number, item) in items {
            match item.requirements(name) {
                Ok(requirements) => usable.push(requirements),
                Err(error) => unusable.push(of_item(number, error)),
            }
        }
        if usable.is_empty() {
            return Err(unusable
                .into_iter()
                .next()
                .unwrap_or(KsFramingError::NoItems));
        }
        Ok(usable)
    }
}

fn of_item(number: usize, error: KsFramingError) -> KsFramingError {
    KsFramingError::Item {
        number,
        error: Box::new(error),
    }
}

impl FramingItem {
    const BYTES: usize = 88;

    fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            memory_type: MemoryType(reader.guid()),
            bus_type: reader.guid(),
            memory_flags: reader.number(),
            bus_flags: reader.number(),
            flags: reader.number(),
            frames: reader.number(),
            alignment_or_pitch: reader.number(),
            weight: reader.number(),
            physical_range: read_range(reader),
            framing_range: WeightedRange {
                range: read_range(reader),
                in_place_weight: reader.number(),
                not_in_place_weight: reader.number(),
            },
        }
    }

    fn write(&self, writer: &mut Writer) {
        let WeightedRange {
            range,
            in_place_weight,
            not_in_place_weight,
        } = self.framing_range;
        writer.guid(self.memory_type.0);
        writer.guid(self.bus_type);
        writer.numbers([self.memory_flags, self.bus_flags, self.flags, self.frames]);
        writer.numbers([self.alignment_or_pitch, self.weight]);
        for range in [self.physical_range, range] {
            writer.numbers([range.min, range.max, range.step]);
        }
        writer.numbers([in_place_weight, not_in_place_weight]);
    }

    /// Returns the requirements of the pin `name` if it gets frames by this item. The
    /// [module](super) says how the fields become requirements.
    ///
    /// # Errors
    ///
    /// Returns an error for masks, ranges and steps that are not defined. Unless all is a
    /// preference, also for memory that a pool does not have, and for rows from the bottom up.
    ///
    /// ```
    /// # use ks_allocator::kernel_streaming::{FramingFlags, FramingItem};
    /// let flags = FramingFlags::TWO_D_BUFFER_REQUIRED.bits();
    /// let pitch = (-1_920_i32) as u32;
    /// let item = FramingItem { flags, alignment_or_pitch: pitch, ..FramingItem::default() };
    /// assert_eq!(
    ///     item.requirements("pin").unwrap_err().to_string(),
    ///     "a pitch of -1920 bytes asks for rows from the bottom up"
    /// );
    /// ```
    pub fn requirements(&self, name: &str) -> Result<Requirements, KsFramingError> {
        let Limits {
            rows,
            possible,
            best,
        } = self.limits()?;
        let mut flags = RequirementFlags::from_bits_retain(self.flags);
        let memory_flags = RequirementFlags::from_bits_retain(self.memory_flags);
        flags |= memory_flags & RequirementFlags::MUST_ALLOCATE;
        let mut pin = Pin::new(name, flags);
        match self.memory_type {
            MemoryType::ANY | MemoryType::SYSTEM => {}
            MemoryType::USER => pin.require(|pin| pin.modes([AllocatorMode::User])),
            MemoryType::KERNEL_PAGED | MemoryType::KERNEL_NONPAGED => {
                pin.require(|pin| pin.modes([AllocatorMode::Kernel]));
            }
            other => pin.reject(other.to_string(), KsFramingError::Memory(other))?,
        }
        pin.require_rows(rows)?;
        if let Some(sizes) = possible {
            pin.require(|pin| pin.sizes(sizes));
        }
        pin.require_frames(self.frames);
        if let Some(sizes) = best {
            pin.wish(|pin| pin.sizes(sizes));
        }
        Ok(pin.finish())
    }

    /// Returns the values that are not numbers of their own.
    fn limits(&self) -> Result<Limits, KsFramingError> {
        Ok(Limits {
            rows: Rows::of(self.flags, self.alignment_or_pitch)?,
            possible: self.physical_range.sizes()?,
            best: self.framing_range.range.sizes()?,
        })
    }
}

impl AllocatorFraming {
    const BYTES: usize = 24;

    /// Returns the framing to create an allocator of a driver with, for the frames of an agreement:
    /// in system memory, from the nonpaged pool. Returns `None` if the alignment is not a power of
    /// two, or a number is too large.
    ///
    /// ```
    /// # use ks_allocator::kernel_streaming::AllocatorFraming;
    /// # use ks_allocator::{Requirements, Sizes, negotiate};
    /// let pin = Requirements::new("pin").sizes(Sizes::exactly(1_000)).alignment(64).prefix(16);
    /// let framing = AllocatorFraming::of_agreement(&negotiate(&[pin.holds(2)])?);
    /// let framing = framing.ok_or("too large")?;
    /// assert_eq!((framing.frames, framing.frame_size), (3, 1_064)); // with a prefix of 64 bytes
    /// assert_eq!(framing.alignment_or_pitch, 63);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "KsCreateAllocator")]
    #[must_use]
    pub fn of_agreement(agreement: &Agreement) -> Option<Self> {
        let framing = agreement.framing();
        let mask = framing.alignment.checked_sub(1)?;
        let frame_size = framing.frame_size.checked_add(framing.prefix)?;
        Some(Self {
            flags: RequirementFlags::SYSTEM_MEMORY.bits(),
            frames: framing.frames.try_into().ok()?,
            frame_size: frame_size.try_into().ok()?,
            alignment_or_pitch: mask.try_into().ok()?,
            ..Self::default()
        })
        .filter(|_| framing.alignment.is_power_of_two())
    }

    /// Reads a `KSALLOCATOR_FRAMING`: all bytes, and no others.
    ///
    /// # Errors
    ///
    /// Returns an error if the number of bytes is not 24, or if the alignment is not defined.
    ///
    /// ```
    /// # use ks_allocator::kernel_streaming::AllocatorFraming;
    /// assert!(AllocatorFraming::from_bytes(&[0; 24]).is_ok());
    /// assert!(AllocatorFraming::from_bytes(&[0; 25]).is_err());
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KsFramingError> {
        if bytes.len() != Self::BYTES {
            return Err(KsFramingError::Length {
                bytes: bytes.len(),
                expected: Self::BYTES,
            });
        }
        let mut reader = Reader(bytes);
        let this = Self {
            flags: reader.number(),
            pool_type: reader.number(),
            frames: reader.number(),
            frame_size: reader.number(),
            alignment_or_pitch: reader.number(),
            reserved: reader.number(),
        };
        Rows::of(this.flags, this.alignment_or_pitch)?;
        Ok(this)
    }

    /// Returns the bytes of a `KSALLOCATOR_FRAMING`.
    ///
    /// ```
    /// # use ks_allocator::kernel_streaming::AllocatorFraming;
    /// let framing = AllocatorFraming { frames: 3, ..AllocatorFraming::default() };
    /// assert_eq!(framing.to_bytes()[8], 3);
    /// ```
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.numbers([self.flags, self.pool_type, self.frames, self.frame_size]);
        writer.numbers([self.alignment_or_pitch, self.reserved]);
        writer.0
    }

    /// Returns the requirements of the pin `name`. The [module](super) says how the fields become
    /// requirements.
    ///
    /// The frame size counts what lies before and behind a frame. The requirement is that the frame
    /// alone is as large, so it holds with a prefix, too.
    ///
    /// # Errors
    ///
    /// Returns an error for a mask that is not defined. Unless all is a preference, also if the pin
    /// does not take system memory, and for rows from the bottom up.
    ///
    /// ```
    /// # use ks_allocator::kernel_streaming::{AllocatorFraming, KsFramingError};
    /// let framing = AllocatorFraming::default();
    /// assert_eq!(framing.requirements("pin"), Err(KsFramingError::DeviceMemory));
    /// ```
    pub fn requirements(&self, name: &str) -> Result<Requirements, KsFramingError> {
        let rows = Rows::of(self.flags, self.alignment_or_pitch)?;
        let flags = RequirementFlags::from_bits_retain(self.flags);
        let mut pin = Pin::new(name, flags);
        if !flags.contains(RequirementFlags::SYSTEM_MEMORY) {
            pin.reject(
                "memory of its device".to_owned(),
                KsFramingError::DeviceMemory,
            )?;
        }
        pin.require_rows(rows)?;
        if self.frame_size > 0 {
            let sizes = Sizes::at_least(to_usize(self.frame_size));
            pin.require(|pin| pin.sizes(sizes));
        }
        pin.require_frames(self.frames);
        Ok(pin.finish())
    }
}

fn read_range(reader: &mut Reader<'_>) -> SizeRange {
    SizeRange {
        min: reader.number(),
        max: reader.number(),
        step: reader.number(),
    }
}

/// Values of an item that are not numbers of their own.
struct Limits {
    rows: Rows,
    possible: Option<Sizes>,
    best: Option<Sizes>,
}

/// The two meanings of one field.
enum Rows {
    /// Alignment of the frames in bytes.
    Aligned(usize),
    /// Number of bytes from row to row.
    Pitch(i32),
}

impl Rows {
    fn of(flags: u32, word: u32) -> Result<Self, KsFramingError> {
        let flags = FramingFlags::from_bits_retain(flags);
        if flags.contains(FramingFlags::TWO_D_BUFFER_REQUIRED) {
            return Ok(Self::Pitch(i32::from_ne_bytes(word.to_ne_bytes())));
        }
        if word & word.wrapping_add(1) != 0 {
            return Err(KsFramingError::AlignmentMask { mask: word });
        }
        Ok(Self::Aligned(to_usize(word).saturating_add(1)))
    }
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Requirements of a pin in the making.
struct Pin {
    requirements: Requirements,
    flags: RequirementFlags,
}

impl Pin {
    fn new(name: &str, flags: RequirementFlags) -> Self {
        let requirements = Requirements::new(name);
        Self {
            requirements,
            flags,
        }
    }

    fn has_only_preferences(&self) -> bool {
        self.flags.contains(RequirementFlags::PREFERENCES_ONLY)
    }

    /// Adds a requirement, or a wish if the pin has only preferences.
    fn require(&mut self, add: impl FnOnce(Requirements) -> Requirements) {
        if self.has_only_preferences() {
            self.wish(add);
        } else {
            self.requirements = add(mem::replace(&mut self.requirements, Requirements::new("")));
        }
    }

    /// Adds a wish.
    fn wish(&mut self, add: impl FnOnce(Requirements) -> Requirements) {
        let wished = add(Requirements::new(""));
        self.requirements.wishes.push((WEIGHT, wished.needs));
    }

    /// Fails for a requirement that a pool cannot meet. A preference becomes a wish, which will be
    /// listed as unmet.
    fn reject(&mut self, text: String, error: KsFramingError) -> Result<(), KsFramingError> {
        if !self.has_only_preferences() {
            return Err(error);
        }
        self.wish(|_| Requirements::unavailable(text));
        Ok(())
    }

    fn require_rows(&mut self, rows: Rows) -> Result<(), KsFramingError> {
        match rows {
            Rows::Aligned(1) | Rows::Pitch(0) => {}
            Rows::Aligned(alignment) => self.require(|pin| pin.alignment(alignment)),
            Rows::Pitch(pitch) => match usize::try_from(pitch) {
                Ok(bytes) => self.require(|pin| {
                    let pin = pin.stride(Some(0), 1, bytes, bytes);
                    pin.derived_strides()
                }),
                Err(_) => {
                    let text = format!("a pitch of {pitch} bytes, with rows from the bottom up");
                    self.reject(text, KsFramingError::BottomUp { pitch })?;
                }
            },
        }
        Ok(())
    }

    fn require_frames(&mut self, frames: u32) {
        let frames = to_usize(frames);
        if (1..=Framing::MAX_FRAMES).contains(&frames) {
            self.require(|pin| pin.max_frames(frames));
            self.wish(|pin| pin.min_frames(frames));
        }
    }

    /// Adds what the flags require, and returns the requirements.
    fn finish(mut self) -> Requirements {
        let flags = self.flags;
        if flags.contains(RequirementFlags::INPLACE_MODIFIER) {
            self.require(Requirements::modifies);
        }
        if flags.contains(RequirementFlags::FRAME_INTEGRITY) {
            self.require(Requirements::unmodified);
        }
        if flags.contains(RequirementFlags::MUST_ALLOCATE) {
            self.require(Requirements::allocates);
        }
        self.requirements
    }
}
