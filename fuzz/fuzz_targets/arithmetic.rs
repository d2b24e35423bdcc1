//! `Framing` and `VideoLayout`, compared with the same rules in 128-bit numbers, which cannot
//! overflow.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use ks_allocator::{
    CommitError, Framing, FramingError, KsAllocator, LayoutError, Padding, PlaneFormat,
    PoolAllocator, VideoFormat, VideoLayout,
};
use libfuzzer_sys::fuzz_target;

const MAX: u128 = isize::MAX as u128;

fn wide(number: usize) -> u128 {
    number as u128
}

fn narrow(number: u128) -> usize {
    number
        .try_into()
        .expect("it was compared with `isize::MAX`")
}

/// Reads a number that is small, or next to a power of two, or any.
fn number(input: &mut Unstructured<'_>) -> arbitrary::Result<usize> {
    Ok(match input.arbitrary::<u8>()? {
        small @ 0..=127 => usize::from(small),
        128..=191 => usize::from(input.arbitrary::<u16>()?),
        192..=223 => {
            let power = 1_usize << (input.arbitrary::<u8>()? % 64);
            power
                .wrapping_add(usize::from(input.arbitrary::<u8>()?))
                .wrapping_sub(128)
        }
        _ => input.arbitrary()?,
    })
}

fn number_32(input: &mut Unstructured<'_>) -> arbitrary::Result<u32> {
    Ok(number(input)? as u32)
}

fn check_framing(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let request = Framing::new(number(input)?, number(input)?)
        .alignment(number(input)?)
        .prefix(number(input)?);
    let Framing {
        frames,
        frame_size,
        alignment,
        prefix,
    } = request;
    let actual = request.actual();
    if !(1..=65_536).contains(&alignment) {
        assert_eq!(actual, Err(FramingError::Alignment { alignment }));
        return Ok(());
    }
    let actual = actual.unwrap();
    let rounded = (wide(prefix) + wide(frame_size)).next_multiple_of(wide(alignment));
    // A size that cannot be rounded stays as it is, and is an error of the commit.
    let expected = if rounded > wide(usize::MAX) {
        wide(frame_size)
    } else {
        rounded - wide(prefix)
    };
    assert_eq!(wide(actual.frame_size), expected);
    assert_eq!(
        Framing {
            frame_size,
            ..actual
        },
        request,
        "only the size changes"
    );

    let bytes = wide(frames).saturating_mul(wide(prefix) + wide(actual.frame_size));
    let is_set = frames > 0 && actual.frame_size > 0;
    // Only commits that fail: others would take memory.
    if !is_set || bytes > MAX || frames > Framing::MAX_FRAMES {
        let allocator = PoolAllocator::with_framing(request).unwrap();
        let error = allocator.commit().unwrap_err();
        match error {
            CommitError::FramingNotSet { .. } => assert!(!is_set),
            CommitError::TooLarge { .. } => assert!(is_set),
            other => panic!("{other}"),
        }
    }
    Ok(())
}

/// The settings of a builder.
#[derive(Debug)]
struct Settings {
    format: VideoFormat,
    width: u32,
    height: u32,
    stride: Option<usize>,
    stride_alignments: [usize; 3],
    plane_alignment: usize,
    derived: bool,
    whole_blocks: bool,
    padding: Padding,
    extra_bytes: usize,
    min_size: usize,
}

fn greatest_common_divisor(one: u128, two: u128) -> u128 {
    if two == 0 {
        one
    } else {
        greatest_common_divisor(two, one % two)
    }
}

fn least_common_multiple(one: u128, two: u128) -> u128 {
    one / greatest_common_divisor(one, two) * two
}

fn row_bytes(plane: &PlaneFormat, width: u128) -> u128 {
    width.div_ceil(u128::from(plane.block_width)) * wide(plane.block_bytes)
}

fn rows(plane: &PlaneFormat, height: u128) -> u128 {
    height.div_ceil(u128::from(plane.block_height))
}

/// A plane: offset, stride, bytes per row and rows.
type Position = [u128; 4];

/// A layout in wide numbers: planes, size and alignment.
type Expected = (Vec<Position>, u128, u128);

#[derive(Debug, PartialEq)]
enum Wrong {
    Empty,
    Alignment,
    Padding,
    TooLarge,
    Stride,
    StrideAlignment,
    NoSize,
}

impl Settings {
    fn read(input: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let format = *input.choose(VideoFormat::ALL)?;
        let flags: u8 = input.arbitrary()?;
        let mut alignments = [1; 4];
        if flags & 1 > 0 {
            for alignment in &mut alignments {
                *alignment = number(input)?;
            }
        }
        let mut padding = Padding::default();
        if flags & 2 > 0 {
            padding = Padding {
                left: number_32(input)?,
                right: number_32(input)?,
                top: number_32(input)?,
                bottom: number_32(input)?,
            };
        }
        Ok(Self {
            format,
            width: number_32(input)?,
            height: number_32(input)?,
            stride: (flags & 4 > 0).then(|| number(input)).transpose()?,
            stride_alignments: [alignments[0], alignments[1], alignments[2]],
            plane_alignment: alignments[3],
            derived: flags & 8 > 0,
            whole_blocks: flags & 16 > 0,
            padding,
            extra_bytes: if flags & 32 > 0 { number(input)? } else { 0 },
            min_size: if flags & 64 > 0 { number(input)? } else { 0 },
        })
    }

    fn build(&self) -> Result<VideoLayout, LayoutError> {
        let mut builder = VideoLayout::builder(self.format, self.width, self.height)
            .plane_alignment(self.plane_alignment)
            .derive_strides(self.derived)
            .whole_blocks(self.whole_blocks)
            .padding(self.padding)
            .extra_bytes(self.extra_bytes)
            .min_size(self.min_size);
        for (plane, alignment) in self.stride_alignments.into_iter().enumerate() {
            builder = builder.plane_stride_alignment(plane, alignment);
        }
        if let Some(stride) = self.stride {
            builder = builder.stride(stride);
        }
        builder.build()
    }

    fn alignment(&self) -> Result<u128, Wrong> {
        let planes = self.format.planes().len();
        let used = self.stride_alignments[..planes].iter();
        let mut common = 1;
        for &alignment in used.chain([&self.plane_alignment]) {
            if alignment == 0 {
                return Err(Wrong::Alignment);
            }
            common = least_common_multiple(common, wide(alignment));
            if common > 65_536 {
                return Err(Wrong::Alignment);
            }
        }
        Ok(common)
    }

    /// Returns the stride of each plane.
    fn strides(&self, padded_width: u128) -> Result<Vec<u128>, Wrong> {
        let planes = self.format.planes();
        let two_pixels = |plane: usize| row_bytes(&planes[plane], 2);
        let divisor = |plane: usize| two_pixels(0) / two_pixels(plane);
        let mut strides = Vec::new();
        for (plane, format) in planes.iter().enumerate() {
            let bytes = row_bytes(format, padded_width);
            let alignment = wide(self.stride_alignments[plane]);
            let stride = if plane == 0 {
                self.stride.map_or_else(
                    || {
                        let counted = if self.derived { planes.len() } else { 1 };
                        let (mut min, mut unit) = (0, 1);
                        for (plane, format) in planes.iter().enumerate().take(counted) {
                            min = min.max(row_bytes(format, padded_width) * divisor(plane));
                            let alignment = wide(self.stride_alignments[plane]);
                            unit = least_common_multiple(unit, alignment * divisor(plane));
                        }
                        min.next_multiple_of(unit)
                    },
                    wide,
                )
            } else if self.derived {
                if strides[0] % divisor(plane) != 0 {
                    return Err(Wrong::StrideAlignment);
                }
                strides[0] / divisor(plane)
            } else {
                bytes.next_multiple_of(alignment)
            };
            if stride < bytes {
                return Err(Wrong::Stride);
            }
            if stride % alignment != 0 {
                return Err(Wrong::StrideAlignment);
            }
            strides.push(stride);
        }
        Ok(strides)
    }

    fn expected(&self) -> Result<Expected, Wrong> {
        if self.width == 0 || self.height == 0 {
            return Err(Wrong::Empty);
        }
        let alignment = self.alignment()?;
        let planes = self.format.planes();
        let (block_width, block_height) = self.format.chroma_subsampling();
        let Padding {
            left,
            right,
            top,
            bottom,
        } = self.padding;
        if left % block_width != 0 || top % block_height != 0 {
            return Err(Wrong::Padding);
        }
        let padded_width = u128::from(left) + u128::from(self.width) + u128::from(right);
        let mut padded_height = u128::from(top) + u128::from(self.height) + u128::from(bottom);
        if self.whole_blocks {
            padded_height = padded_height.next_multiple_of(block_height.into());
        }
        // Padded sizes are 32-bit numbers, as sizes are.
        let is_32_bit = |size: u128| size <= u32::MAX.into();
        if !planes.is_empty() && !is_32_bit(padded_width) {
            return Err(Wrong::TooLarge);
        }
        let strides = self.strides(padded_width)?;
        if !planes.is_empty() && !is_32_bit(padded_height) {
            return Err(Wrong::TooLarge);
        }
        let mut positions = Vec::new();
        let mut end = 0;
        for (format, stride) in planes.iter().zip(strides) {
            let start = u128::next_multiple_of(end, wide(self.plane_alignment));
            let offset = start + rows(format, top.into()) * stride + row_bytes(format, left.into());
            let bytes = row_bytes(format, self.width.into());
            positions.push([offset, stride, bytes, rows(format, self.height.into())]);
            end = start + rows(format, padded_height) * stride;
        }
        let size = wide(self.min_size).max(end + wide(self.extra_bytes));
        if size == 0 || (planes.is_empty() && self.min_size == 0) {
            return Err(Wrong::NoSize);
        }
        if size > MAX {
            return Err(Wrong::TooLarge);
        }
        Ok((positions, size, alignment))
    }
}

fn wrong(error: &LayoutError) -> Wrong {
    match error {
        LayoutError::Empty { .. } => Wrong::Empty,
        LayoutError::Alignment { .. } => Wrong::Alignment,
        LayoutError::Padding { .. } => Wrong::Padding,
        LayoutError::TooLarge { .. } => Wrong::TooLarge,
        LayoutError::Stride { .. } => Wrong::Stride,
        LayoutError::StrideAlignment { .. } => Wrong::StrideAlignment,
        LayoutError::NoSize { .. } => Wrong::NoSize,
        other => panic!("{other}"),
    }
}

fn positions(layout: &VideoLayout) -> Vec<Position> {
    let planes = layout.planes().iter();
    planes
        .map(|plane| [plane.offset, plane.stride, plane.row_bytes, plane.rows].map(wide))
        .collect()
}

fn check_builder(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let settings = Settings::read(input)?;
    let layout = match (settings.build(), settings.expected()) {
        (Ok(layout), Ok((planes, size, alignment))) => {
            assert_eq!(positions(&layout), planes, "{settings:?}");
            assert_eq!(
                (wide(layout.size()), wide(layout.alignment())),
                (size, alignment)
            );
            layout
        }
        (Err(error), Err(expected)) => {
            // A picture that is too large may have something else wrong with it.
            let kind = wrong(&error);
            let is_right = kind == expected || kind == Wrong::TooLarge;
            assert!(is_right, "{error}, {expected:?}: {settings:?}");
            return Ok(());
        }
        (result, expected) => panic!("{result:?}, {expected:?}: {settings:?}"),
    };
    let given: Vec<_> = layout
        .planes()
        .iter()
        .map(|plane| (plane.offset, plane.stride as isize))
        .collect();
    if !given.is_empty() {
        let (format, width, height) = (settings.format, settings.width, settings.height);
        let again = VideoLayout::from_planes(format, width, height, &given, layout.size());
        assert_eq!(again.unwrap().planes(), layout.planes());
    }
    if layout.size() <= 1 << 16 && !layout.planes().is_empty() {
        write_rows(&layout);
        write_rows(&layout.bottom_up());
    }
    Ok(())
}

/// Writes a number to each row, and reads them all: rows share no byte.
fn write_rows(layout: &VideoLayout) {
    let mut bytes = vec![0; layout.size()];
    let mut fill = 0_u8;
    let mut planes = layout.planes_of_mut(&mut bytes).unwrap();
    for plane in planes.iter_mut() {
        for row in plane.rows_mut() {
            fill = fill.wrapping_add(1);
            row.fill(fill);
        }
    }
    let mut fill = 0_u8;
    let planes = layout.planes_of(&bytes).unwrap();
    for (plane, position) in planes.iter().zip(layout.planes()) {
        assert_eq!(plane.rows().count(), position.rows);
        for row in plane.rows() {
            fill = fill.wrapping_add(1);
            assert_eq!(row.len(), position.row_bytes);
            assert!(row.iter().all(|&byte| byte == fill));
        }
    }
}

fn check_from_planes(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let format = *input.choose(VideoFormat::ALL)?;
    let (width, height) = (number_32(input)?, number_32(input)?);
    let mut given = Vec::new();
    for _ in 0..input.int_in_range(0..=3)? {
        given.push((number(input)?, number(input)? as isize));
    }
    let size = number(input)?;
    let result = VideoLayout::from_planes(format, width, height, &given, size);

    let planes = format.planes();
    let mut is_right = given.len() == planes.len() && width > 0 && height > 0;
    is_right &= size > 0 && wide(size) <= MAX;
    let mut ranges = Vec::new();
    for (plane, &(offset, stride)) in planes.iter().zip(&given) {
        let bytes = row_bytes(plane, width.into());
        let Ok(stride) = u128::try_from(stride) else {
            is_right = false;
            break;
        };
        let rows = rows(plane, height.into());
        let end = wide(offset) + rows.saturating_sub(1) * stride + bytes;
        is_right &= stride >= bytes && end <= wide(size);
        ranges.push((wide(offset), end));
    }
    ranges.sort_unstable();
    is_right &= ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0);
    assert_eq!(result.is_ok(), is_right, "{result:?}");
    if let Ok(layout) = result {
        assert_eq!(layout.size(), size);
        for (position, &(offset, stride)) in positions(&layout).iter().zip(&given) {
            assert_eq!(
                (narrow(position[0]), narrow(position[1])),
                (offset, stride as usize)
            );
        }
        if size <= 1 << 16 && !planes.is_empty() {
            write_rows(&layout);
        }
    }
    Ok(())
}

#[derive(Arbitrary)]
enum Subject {
    Framing,
    Builder,
    FromPlanes,
}

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let _ = match input.arbitrary() {
        Ok(Subject::Framing) => check_framing(&mut input),
        Ok(Subject::Builder) => check_builder(&mut input),
        Ok(Subject::FromPlanes) => check_from_planes(&mut input),
        Err(_) => Ok(()),
    };
});
