//! Access to the planes and rows of a picture.

use std::array;
use std::fmt;
use std::iter::{FusedIterator, Take};
use std::ops::{Deref, DerefMut};
use std::slice::{Chunks, ChunksMut};

use super::error::PlanesError;
use super::layout::{MAX_PLANES, PlaneLayout, VideoLayout};

/// Planes of a picture, a slice of [`Plane`]s.
///
/// ```
/// use ks_allocator::{VideoFormat, VideoLayout};
///
/// let layout = VideoLayout::new(VideoFormat::I420, 2, 2)?;
/// let planes = layout.planes_of(b"YYYYUV").expect("6 bytes");
/// let [y, u, v] = &planes[..] else { unreachable!() };
/// assert_eq!((y.bytes(), u.bytes(), v.bytes()), (&b"YYYY"[..], &b"U"[..], &b"V"[..]));
/// # Ok::<(), ks_allocator::LayoutError>(())
/// ```
#[derive(Clone)]
pub struct Planes<'a> {
    /// Those that the format does not have are empty.
    planes: [Plane<'a>; MAX_PLANES],
    count: usize,
}

/// Planes of a picture, writable: a slice of [`PlaneMut`]s, which have no bytes in common.
///
/// ```
/// use ks_allocator::{VideoFormat, VideoLayout};
///
/// let layout = VideoLayout::new(VideoFormat::I420, 2, 2)?;
/// let mut bytes = [0; 6];
/// let mut planes = layout.planes_of_mut(&mut bytes).expect("6 bytes");
/// let [y, u, v] = &mut planes[..] else { unreachable!() };
/// y.bytes_mut().fill(16);
/// std::mem::swap(u, v); // the planes, not their bytes
/// u.bytes_mut().fill(2);
/// v.bytes_mut().fill(1);
/// assert_eq!(bytes, [16, 16, 16, 16, 1, 2]);
/// # Ok::<(), ks_allocator::LayoutError>(())
/// ```
pub struct PlanesMut<'a> {
    /// Those that the format does not have are empty. An array, because a type with a destructor
    /// would keep the picture borrowed to the end of its scope.
    planes: [PlaneMut<'a>; MAX_PLANES],
    count: usize,
}

/// One plane of a picture.
#[derive(Clone, Copy)]
pub struct Plane<'a> {
    /// From the first to the last byte of the picture.
    bytes: &'a [u8],
    shape: Shape,
}

/// One plane of a picture, writable.
pub struct PlaneMut<'a> {
    bytes: &'a mut [u8],
    shape: Shape,
}

/// Shape of a plane. A plane that a picture has, and that a user can reach, has a row at least, and
/// its stride is at least the bytes of a row, which are not 0.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    stride: usize,
    row_bytes: usize,
    rows: usize,
    bottom_up: bool,
}

impl Shape {
    fn new(plane: &PlaneLayout, bottom_up: bool) -> Self {
        Self {
            stride: plane.stride,
            row_bytes: plane.row_bytes,
            rows: plane.rows,
            bottom_up,
        }
    }

    /// Returns the offset of row `y` from the first row in memory, in bytes.
    fn offset_of(&self, y: usize) -> Option<usize> {
        let last = self.rows - 1;
        let row = if self.bottom_up {
            last.checked_sub(y)?
        } else {
            y
        };
        (row <= last).then(|| row * self.stride)
    }
}

impl VideoLayout {
    /// Returns the planes of a picture that lies in `bytes`, which need not be a frame.
    ///
    /// # Errors
    ///
    /// Returns [`PlanesError::TooShort`] if the last row does not end within `bytes`.
    ///
    /// ```
    /// use ks_allocator::{VideoFormat, VideoLayout};
    ///
    /// let layout = VideoLayout::new(VideoFormat::Nv12, 2, 2)?;
    /// let planes = layout.planes_of(b"YYYYUV").expect("6 bytes");
    /// assert_eq!(planes[1].row(0), Some(&b"UV"[..]));
    /// assert!(layout.planes_of(b"YYYYU").is_err());
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    pub fn planes_of<'a>(&self, bytes: &'a [u8]) -> Result<Planes<'a>, PlanesError> {
        Planes::new(self, bytes)
    }

    /// Returns the planes of a picture that lies in `bytes`, writable.
    ///
    /// # Errors
    ///
    /// Returns [`PlanesError::TooShort`] if the last row does not end within `bytes`.
    ///
    /// ```
    /// use ks_allocator::{VideoFormat, VideoLayout};
    ///
    /// let layout = VideoLayout::new(VideoFormat::Nv12, 2, 2)?;
    /// let mut bytes = [0; 6];
    /// let mut planes = layout.planes_of_mut(&mut bytes).expect("6 bytes");
    /// planes[1].row_mut(0).expect("one row").copy_from_slice(b"UV");
    /// assert_eq!(bytes[4..], *b"UV");
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    pub fn planes_of_mut<'a>(&self, bytes: &'a mut [u8]) -> Result<PlanesMut<'a>, PlanesError> {
        PlanesMut::new(self, bytes)
    }
}

impl<'a> Planes<'a> {
    fn new(layout: &VideoLayout, bytes: &'a [u8]) -> Result<Self, PlanesError> {
        check_length(layout, bytes.len())?;
        let none = Plane {
            bytes: &[],
            shape: Shape::default(),
        };
        let mut planes = [none; MAX_PLANES];
        for (plane, position) in planes.iter_mut().zip(layout.planes()) {
            plane.bytes = &bytes[position.offset..position.end()];
            plane.shape = Shape::new(position, layout.is_bottom_up());
        }
        let count = layout.planes().len();
        Ok(Self { planes, count })
    }
}

impl<'a> PlanesMut<'a> {
    fn new(layout: &VideoLayout, bytes: &'a mut [u8]) -> Result<Self, PlanesError> {
        check_length(layout, bytes.len())?;
        let count = layout.planes().len();
        let mut planes = [(); MAX_PLANES].map(|()| PlaneMut {
            bytes: &mut [],
            shape: Shape::default(),
        });
        // The planes are cut off the front in the order of their offsets.
        let (mut rest, mut cut) = (bytes, 0);
        for number in layout.order().into_iter().take(count) {
            let position = &layout.planes()[number];
            let (_, from_plane) = rest.split_at_mut(position.offset - cut);
            let (plane, behind) = from_plane.split_at_mut(position.end() - position.offset);
            planes[number].bytes = plane;
            planes[number].shape = Shape::new(position, layout.is_bottom_up());
            (rest, cut) = (behind, position.end());
        }
        Ok(Self { planes, count })
    }
}

fn check_length(layout: &VideoLayout, length: usize) -> Result<(), PlanesError> {
    let needed = layout.needed();
    if length < needed {
        return Err(PlanesError::TooShort { length, needed });
    }
    Ok(())
}

impl<'a> Deref for Planes<'a> {
    type Target = [Plane<'a>];

    fn deref(&self) -> &Self::Target {
        &self.planes[..self.count]
    }
}

impl<'a> Deref for PlanesMut<'a> {
    type Target = [PlaneMut<'a>];

    fn deref(&self) -> &Self::Target {
        &self.planes[..self.count]
    }
}

impl DerefMut for PlanesMut<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.planes[..self.count]
    }
}

impl<'a> IntoIterator for Planes<'a> {
    type Item = Plane<'a>;
    type IntoIter = Take<array::IntoIter<Plane<'a>, MAX_PLANES>>;

    fn into_iter(self) -> Self::IntoIter {
        self.planes.into_iter().take(self.count)
    }
}

impl<'a> IntoIterator for PlanesMut<'a> {
    type Item = PlaneMut<'a>;
    type IntoIter = Take<array::IntoIter<PlaneMut<'a>, MAX_PLANES>>;

    fn into_iter(self) -> Self::IntoIter {
        self.planes.into_iter().take(self.count)
    }
}

impl fmt::Debug for Planes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for PlanesMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> Plane<'a> {
    /// Returns the bytes from the first row in memory to the last, with the unused bytes between
    /// rows.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::builder(VideoFormat::Gray8, 2, 2).stride(3).build()?;
    /// assert_eq!(layout.planes_of(b"ab-cd-").expect("6 bytes")[0].bytes(), b"ab-cd");
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the distance between rows in bytes.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::builder(VideoFormat::Gray8, 2, 2).stride(3).build()?;
    /// assert_eq!(layout.planes_of(b"ab-cd-").expect("6 bytes")[0].stride(), 3);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[must_use]
    pub fn stride(&self) -> usize {
        self.shape.stride
    }

    /// Returns the bytes of the picture per row.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::builder(VideoFormat::Gray8, 2, 2).stride(3).build()?;
    /// assert_eq!(layout.planes_of(b"ab-cd-").expect("6 bytes")[0].row_bytes(), 2);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        self.shape.row_bytes
    }

    /// Returns row `y`, counted from 0 at the top of the picture, or `None` if there is no such
    /// row.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::new(VideoFormat::Gray8, 2, 2)?;
    /// let planes = layout.planes_of(b"abcd").expect("4 bytes");
    /// assert_eq!(planes[0].row(1), Some(&b"cd"[..]));
    /// assert_eq!(planes[0].row(2), None);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[must_use]
    pub fn row(&self, y: usize) -> Option<&'a [u8]> {
        let offset = self.shape.offset_of(y)?;
        self.bytes.get(offset..)?.get(..self.shape.row_bytes)
    }

    /// Returns an iterator over the rows, from the top of the picture.
    ///
    /// A row of 16-bit samples can be read as such with a library like `bytemuck`, because rows
    /// begin at multiples of the stride.
    ///
    /// ```
    /// use ks_allocator::{FramePool, VideoFormat, VideoLayout};
    ///
    /// let layout = VideoLayout::builder(VideoFormat::P010, 6, 4).stride_alignment(64).build()?;
    /// let pool = FramePool::builder().frames(1).video(&layout).build()?;
    /// let mut frame = pool.acquire()?;
    /// for row in frame.planes_mut()?[0].rows_mut() {
    ///     bytemuck::cast_slice_mut::<u8, u16>(row).fill(64 << 6);
    /// }
    /// let planes = frame.planes()?;
    /// let samples = planes[0].rows().flat_map(bytemuck::cast_slice::<u8, u16>);
    /// assert_eq!(samples.map(|&sample| u32::from(sample >> 6)).sum::<u32>(), 6 * 4 * 64);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn rows(&self) -> Rows<'a> {
        Rows {
            rows: self.bytes.chunks(self.shape.stride),
            shape: self.shape,
        }
    }
}

impl<'a> PlaneMut<'a> {
    /// Returns the plane, readable.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::new(VideoFormat::Gray8, 1, 2)?;
    /// let mut bytes = *b"ab";
    /// let planes = layout.planes_of_mut(&mut bytes).expect("2 bytes");
    /// assert_eq!(planes[0].as_plane().row(1), Some(&b"b"[..]));
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[must_use]
    pub fn as_plane(&self) -> Plane<'_> {
        Plane {
            bytes: self.bytes,
            shape: self.shape,
        }
    }

    /// Returns the distance between rows in bytes.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::new(VideoFormat::Gray8, 2, 2)?;
    /// assert_eq!(layout.planes_of_mut(&mut [0; 4]).expect("4 bytes")[0].stride(), 2);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[must_use]
    pub fn stride(&self) -> usize {
        self.shape.stride
    }

    /// Returns the bytes of the picture per row.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::new(VideoFormat::Rgb24, 2, 2)?;
    /// assert_eq!(layout.planes_of_mut(&mut [0; 12]).expect("12 bytes")[0].row_bytes(), 6);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        self.shape.row_bytes
    }

    /// Returns the bytes from the first row in memory to the last, with the unused bytes between
    /// rows. Split into chunks of the [stride](Plane::stride), they can be written in parallel.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::new(VideoFormat::Gray8, 1, 2)?;
    /// let mut bytes = *b"ab";
    /// layout.planes_of_mut(&mut bytes).expect("2 bytes")[0].bytes_mut().reverse();
    /// assert_eq!(&bytes, b"ba");
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes
    }

    /// Returns row `y`, counted from 0 at the top of the picture, or `None` if there is no such
    /// row.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::new(VideoFormat::Gray8, 2, 2)?;
    /// let mut bytes = *b"abcd";
    /// let mut planes = layout.planes_of_mut(&mut bytes).expect("4 bytes");
    /// planes[0].row_mut(1).expect("two rows").copy_from_slice(b"ef");
    /// assert_eq!(&bytes, b"abef");
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[must_use]
    pub fn row_mut(&mut self, y: usize) -> Option<&mut [u8]> {
        let offset = self.shape.offset_of(y)?;
        self.bytes
            .get_mut(offset..)?
            .get_mut(..self.shape.row_bytes)
    }

    /// Returns an iterator over the rows, from the top of the picture.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::new(VideoFormat::Gray8, 1, 3)?;
    /// let mut bytes = [0; 3];
    /// let mut planes = layout.planes_of_mut(&mut bytes).expect("3 bytes");
    /// planes[0].rows_mut().zip(1..).for_each(|(row, y)| row.fill(y));
    /// assert_eq!(bytes, [1, 2, 3]);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[must_use]
    pub fn rows_mut(&mut self) -> RowsMut<'_> {
        let plane = PlaneMut {
            bytes: self.bytes,
            shape: self.shape,
        };
        plane.into_rows()
    }

    /// Turns the plane into an iterator over its rows, which live as long as the picture.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::new(VideoFormat::I420, 2, 2)?;
    /// let mut bytes = [0; 6];
    /// let planes = layout.planes_of_mut(&mut bytes).expect("6 bytes");
    /// for row in planes.into_iter().flat_map(|plane| plane.into_rows()) {
    ///     row.fill(7);
    /// }
    /// assert_eq!(bytes, [7; 6]);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[must_use]
    pub fn into_rows(self) -> RowsMut<'a> {
        RowsMut {
            rows: self.bytes.chunks_mut(self.shape.stride),
            shape: self.shape,
        }
    }
}

impl fmt::Debug for Plane<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shape.fmt(f)
    }
}

impl fmt::Debug for PlaneMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shape.fmt(f)
    }
}

/// Iterator over the rows of a [`Plane`], from the top of the picture.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    rows: Chunks<'a, u8>,
    shape: Shape,
}

/// Iterator over the rows of a [`PlaneMut`], from the top of the picture.
#[derive(Debug)]
pub struct RowsMut<'a> {
    rows: ChunksMut<'a, u8>,
    shape: Shape,
}

/// Implements the iterators over rows. Their chunks are in the order of memory, and all but the
/// last have the unused bytes behind the row.
macro_rules! iterate_rows {
    ($rows:ident, $row:ty, $cut:ident) => {
        impl<'a> Iterator for $rows<'a> {
            type Item = $row;

            fn next(&mut self) -> Option<$row> {
                let row = if self.shape.bottom_up {
                    self.rows.next_back()
                } else {
                    self.rows.next()
                };
                row?.$cut(..self.shape.row_bytes)
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                self.rows.size_hint()
            }
        }

        impl DoubleEndedIterator for $rows<'_> {
            fn next_back(&mut self) -> Option<Self::Item> {
                let row = if self.shape.bottom_up {
                    self.rows.next()
                } else {
                    self.rows.next_back()
                };
                row?.$cut(..self.shape.row_bytes)
            }
        }

        impl ExactSizeIterator for $rows<'_> {}
        impl FusedIterator for $rows<'_> {}
    };
}

iterate_rows!(Rows, &'a [u8], get);
iterate_rows!(RowsMut, &'a mut [u8], get_mut);
