//! Layouts of pictures as V4L2 describes them.

use ks_allocator::{VideoFormat, VideoLayout};
use ks_allocator_integrations::Result;

use crate::v4l2::PixFormat;

/// Returns the layout of pictures of which a driver returned this description.
pub(crate) fn layout_of(pix: &PixFormat) -> Result<VideoLayout> {
    let format = VideoFormat::from_v4l2_fourcc(pix.pixelformat).ok_or("an unknown pixel format")?;
    let layout = VideoLayout::builder(format, pix.width, pix.height)
        .for_v4l2()
        .stride(usize::try_from(pix.bytesperline)?)
        .min_size(usize::try_from(pix.sizeimage)?);
    Ok(layout.build()?)
}

/// Returns the description of a layout, with which a driver can be asked for it. There is none if
/// V4L2 has no code for the format, or would place the planes otherwise.
pub(crate) fn pix_format_of(layout: &VideoLayout) -> Result<PixFormat> {
    let code = layout.format().v4l2_fourcc();
    let stride = layout.planes().first().map_or(0, |plane| plane.stride);
    let (stride, size) = (u32::try_from(stride)?, u32::try_from(layout.size())?);
    let code = code.ok_or("V4L2 has no such pixel format")?;
    let pix = PixFormat::new(layout.width(), layout.height(), code, stride, size);
    if layout_of(&pix)?.planes() != layout.planes() {
        return Err("V4L2 places the planes of the format otherwise".into());
    }
    Ok(pix)
}
