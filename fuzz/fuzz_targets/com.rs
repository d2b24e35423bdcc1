//! Calls of a COM client with any arguments that the interfaces allow, and some that they do not:
//! NULL, structures at odd addresses and of every size, wrong numbers, unknown flags.
//!
//! A model predicts the results. Memory of the client around each structure must stay as it was.

#![no_main]

use std::ffi::c_void;
use std::ptr;

use arbitrary::Unstructured;
use ks_allocator::com::windows_core::{GUID, HRESULT, IUnknown, Interface};
use ks_allocator::com::*;
use ks_allocator::kernel_streaming::RequirementFlags;
use ks_allocator::{PoolAllocator, negotiate};
use libfuzzer_sys::fuzz_target;

/// Largest total size of the buffers that is really committed, in bytes.
const MAX_COMMIT: i64 = 1 << 20;

const SAMPLE_SIZE: usize = size_of::<AM_SAMPLE2_PROPERTIES>();

/// Byte that the memory of the client is filled with.
const CANARY: u8 = 0xA5;

/// Memory of the client, of which a method gets a part at any address.
struct Memory {
    bytes: Vec<u8>,
    start: usize,
}

impl Memory {
    fn new(input: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let start = 8 + usize::from(input.arbitrary::<u8>()? % 8);
        let bytes = vec![CANARY; 1024];
        Ok(Self { bytes, start })
    }

    fn holding<T>(input: &mut Unstructured<'_>, value: &T) -> arbitrary::Result<Self> {
        let mut memory = Self::new(input)?;
        let (from, to) = (ptr::from_ref(value), memory.as_mut_ptr::<T>());
        // SAFETY: both are `size_of::<T>()` bytes, of different memory.
        unsafe { ptr::copy_nonoverlapping(from.cast::<u8>(), to.cast(), size_of::<T>()) };
        Ok(memory)
    }

    fn as_mut_ptr<T>(&mut self) -> *mut T {
        self.bytes[self.start..].as_mut_ptr().cast()
    }

    /// Returns the value that a method has written, and checks the memory around it.
    fn read<T: Copy>(&mut self) -> T {
        self.check_around(size_of::<T>());
        // SAFETY: the memory has so many bytes, and callers read types of integers and pointers.
        unsafe { self.as_mut_ptr::<T>().read_unaligned() }
    }

    /// Checks that no byte but the first `size` was written.
    fn check_around(&self, size: usize) {
        let (before, rest) = self.bytes.split_at(self.start);
        let mut others = before.iter().chain(&rest[size..]);
        assert!(others.all(|&byte| byte == CANARY));
    }
}

/// Reads a number that is small, negative or huge.
fn number(input: &mut Unstructured<'_>) -> arbitrary::Result<i32> {
    Ok(match input.arbitrary::<u8>()? {
        small @ 0..=199 => i32::from(small) % 20,
        200..=219 => i32::from(input.arbitrary::<i16>()?),
        220..=229 => -i32::from(input.arbitrary::<u8>()?),
        230..=239 => 1 << (input.arbitrary::<u8>()? % 32),
        _ => input.arbitrary()?,
    })
}

/// Reads the description of a pipe whose requirements can often be met.
fn pipe(input: &mut Unstructured<'_>) -> arbitrary::Result<ALLOCATOR_PROPERTIES_EX> {
    let memory_types = [
        GUID::zeroed(),
        KSMEMORY_TYPE_SYSTEM,
        KSMEMORY_TYPE_USER,
        KSMEMORY_TYPE_KERNEL_PAGED,
        KSMEMORY_TYPE_DEVICE_UNKNOWN,
    ];
    let flags = RequirementFlags::from_bits_retain(input.arbitrary()?);
    Ok(ALLOCATOR_PROPERTIES_EX {
        cBuffers: number(input)?,
        cbBuffer: number(input)?,
        cbAlign: number(input)?,
        cbPrefix: number(input)?,
        MemoryType: *input.choose(&memory_types)?,
        LogicalMemoryType: number(input)?,
        Flags: (flags & RequirementFlags::all()).bits(),
        PhysicalRange: KS_FRAMING_RANGE {
            MinFrameSize: number(input)? as u32,
            MaxFrameSize: number(input)? as u32,
            Stepping: number(input)? as u32,
        },
        ..ALLOCATOR_PROPERTIES_EX::default()
    })
}

/// Checks that a pipe's requirements, if it has any, are met by what is agreed with it alone.
fn check_requirements(pipe: &ALLOCATOR_PROPERTIES_EX) {
    let numbers = [pipe.cBuffers, pipe.cbBuffer, pipe.cbAlign, pipe.cbPrefix];
    let requirements = match pipe.requirements("pipe") {
        Ok(requirements) => requirements,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let needed = numbers.map(|number| usize::try_from(number).expect("negative numbers fail"));
    match negotiate(&[requirements]) {
        Ok(agreement) => {
            let framing = agreement.framing();
            assert!(framing.actual().is_ok(), "{framing:?} of {pipe:?}");
            let flags = RequirementFlags::from_bits_retain(pipe.Flags);
            if !flags.contains(RequirementFlags::PREFERENCES_ONLY) {
                let [frames, size, alignment, prefix] = needed;
                assert!(framing.frames >= frames, "{framing:?} of {pipe:?}");
                assert!(framing.frame_size >= size, "{framing:?} of {pipe:?}");
                assert!(framing.prefix >= prefix, "{framing:?} of {pipe:?}");
                assert_eq!(
                    framing.alignment % alignment.max(1),
                    0,
                    "{framing:?} of {pipe:?}"
                );
            }
        }
        Err(conflict) => assert!(!conflict.to_string().is_empty()),
    }
}

/// Returns `true` once in 16 times.
fn rarely(input: &mut Unstructured<'_>) -> arbitrary::Result<bool> {
    Ok(input.arbitrary::<u8>()? % 16 == 15)
}

/// Properties of a sample that the client can compare: without addresses, and times only if they
/// are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attributes {
    flags: u32,
    type_specific: u32,
    length: i32,
    stream_id: u32,
    start: Option<i64>,
    stop: Option<i64>,
}

impl Attributes {
    fn of(properties: &AM_SAMPLE2_PROPERTIES) -> Self {
        let has = |flag: SampleFlags| properties.dwSampleFlags & flag.bits() != 0;
        Self {
            flags: properties.dwSampleFlags,
            type_specific: properties.dwTypeSpecificFlags,
            length: properties.lActual,
            stream_id: properties.dwStreamId,
            start: has(SampleFlags::TIMEVALID).then_some(properties.tStart),
            stop: has(SampleFlags::STOPVALID).then_some(properties.tStop),
        }
    }

    fn set(&mut self, flag: SampleFlags, value: bool) {
        self.flags = self.flags & !flag.bits() | if value { flag.bits() } else { 0 };
    }
}

/// A sample, with one reference of the client.
struct Sample {
    sample: IMediaSample2,
    mark: u8,
    attributes: Attributes,
    media_time: Option<(i64, i64)>,
}

impl Sample {
    fn properties(&self) -> AM_SAMPLE2_PROPERTIES {
        let mut properties = AM_SAMPLE2_PROPERTIES::default();
        let (size, out) = (SAMPLE_SIZE as u32, (&raw mut properties).cast());
        // SAFETY: `out` has `size` bytes.
        assert_eq!(unsafe { self.sample.GetProperties(size, out) }, S_OK);
        properties
    }

    fn bytes(&self) -> &mut [u8] {
        let properties = self.properties();
        // SAFETY: the buffer has so many bytes, and this client is the only one.
        unsafe { std::slice::from_raw_parts_mut(properties.pbBuffer, properties.cbBuffer as usize) }
    }

    fn check(&self) {
        assert_eq!(Attributes::of(&self.properties()), self.attributes);
        assert!(self.bytes().iter().all(|&byte| byte == self.mark));
    }
}

struct Run {
    memory: IMemAllocatorCallbackTemp,
    streaming: IKsAllocatorEx,
    actual: ALLOCATOR_PROPERTIES,
    committed: bool,
    mode: i32,
    samples: Vec<Sample>,
    next_mark: u8,
}

impl Run {
    /// Returns the size of all buffers in bytes, if there are some.
    fn total(&self) -> Option<i64> {
        let actual = &self.actual;
        let all_positive = actual.cBuffers > 0 && actual.cbBuffer > 0 && actual.cbPrefix >= 0;
        let of_one = i64::from(actual.cbBuffer) + i64::from(actual.cbPrefix);
        all_positive.then(|| i64::from(actual.cBuffers).saturating_mul(of_one))
    }

    fn set_properties(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let request = ALLOCATOR_PROPERTIES {
            cBuffers: number(input)?,
            cbBuffer: number(input)?,
            cbAlign: number(input)?.max(-1),
            cbPrefix: number(input)?,
        };
        let mut from = Memory::holding(input, &request)?;
        let mut to = Memory::new(input)?;
        let is_same = rarely(input)?;
        let out = if is_same {
            from.as_mut_ptr()
        } else {
            to.as_mut_ptr()
        };
        // SAFETY: both have the size of the structure.
        let result = unsafe { self.memory.SetProperties(from.as_mut_ptr(), out) };
        let actual: ALLOCATOR_PROPERTIES = if is_same { from.read() } else { to.read() };
        let is_aligned = (1..=65_536).contains(&request.cbAlign);
        if result != S_OK {
            let is_right = match result {
                VFW_E_BADALIGN => !is_aligned,
                VFW_E_ALREADY_COMMITTED => self.committed,
                VFW_E_BUFFERS_OUTSTANDING => !self.committed && !self.samples.is_empty(),
                _ => false,
            };
            assert!(is_right, "{result}");
            assert_eq!(actual, ALLOCATOR_PROPERTIES::default());
            return Ok(());
        }
        assert!(is_aligned && !self.committed && self.samples.is_empty());
        let is_framing = request.cBuffers >= 0 && request.cbBuffer >= 0 && request.cbPrefix >= 0;
        let used = i64::from(request.cbBuffer) + i64::from(request.cbPrefix);
        let align = i64::from(request.cbAlign);
        let rounded = (used + align - 1) / align * align - i64::from(request.cbPrefix);
        let mut expected = request;
        if let (true, Ok(size)) = (is_framing, i32::try_from(rounded)) {
            expected.cbBuffer = size;
        }
        assert_eq!(actual, expected);
        self.actual = actual;
        Ok(())
    }

    fn commit(&mut self) {
        let total = self.total();
        let is_small = total.is_some_and(|total| total <= MAX_COMMIT);
        let is_huge = total.is_some_and(|total| total > i64::from(i32::MAX));
        if total.is_some() && !is_small && !is_huge {
            // It may succeed, and would take too long.
            return;
        }
        // SAFETY: the method has no argument.
        let result = unsafe { self.memory.Commit() };
        let expected = match total {
            _ if self.committed => S_OK,
            Some(_) if is_small => S_OK,
            Some(_) => E_OUTOFMEMORY,
            None if self.actual.cBuffers <= 0 || self.actual.cbBuffer <= 0 => VFW_E_SIZENOTSET,
            None => E_OUTOFMEMORY,
        };
        assert_eq!(result, expected, "{:?}", self.actual);
        self.committed = result == S_OK;
    }

    fn get_buffer(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let flags = input.arbitrary::<u32>()? | GetBufferFlags::NOWAIT.bits();
        let mut time = Memory::holding(input, &5_i64)?;
        let mut out = Memory::holding(input, &usize::MAX)?;
        let is_null = rarely(input)?;
        let pointer = if is_null {
            ptr::null_mut()
        } else {
            out.as_mut_ptr()
        };
        let time = if rarely(input)? {
            ptr::null()
        } else {
            time.as_mut_ptr::<i64>().cast_const()
        };
        // SAFETY: each pointer is NULL, or leads to as many bytes as the method reads or writes.
        let result = unsafe { self.memory.GetBuffer(pointer, time, time, flags) };
        if is_null {
            assert_eq!(result, E_POINTER);
            return Ok(());
        }
        let raw: *mut c_void = out.read();
        let has_free = (self.samples.len() as i64) < i64::from(self.actual.cBuffers);
        let expected = match (self.committed, has_free) {
            (false, _) => VFW_E_NOT_COMMITTED,
            (true, false) => VFW_E_TIMEOUT,
            (true, true) => S_OK,
        };
        assert_eq!((result, raw.is_null()), (expected, expected != S_OK));
        if result == S_OK {
            // SAFETY: the method has returned one reference of a sample.
            let sample = unsafe { IMediaSample2::from_raw(raw) };
            self.next_mark = self.next_mark.wrapping_add(1);
            let mut sample = Sample {
                sample,
                mark: self.next_mark,
                attributes: Attributes::of(&AM_SAMPLE2_PROPERTIES::default()),
                media_time: None,
            };
            let properties = sample.properties();
            assert!((0..=self.actual.cbBuffer).contains(&properties.lActual));
            assert_eq!(properties.cbBuffer, self.actual.cbBuffer);
            // The length is kept from the last use of the buffer.
            sample.attributes.length = properties.lActual;
            sample.bytes().fill(sample.mark);
            sample.check();
            self.samples.push(sample);
        }
        Ok(())
    }

    /// Reads by a method that writes one value, through NULL now and then.
    fn read<T: Copy>(
        input: &mut Unstructured<'_>,
        method: impl FnOnce(*mut T) -> HRESULT,
    ) -> arbitrary::Result<Option<T>> {
        let mut memory = Memory::new(input)?;
        if rarely(input)? {
            assert_eq!(method(ptr::null_mut()), E_POINTER);
            return Ok(None);
        }
        assert_eq!(method(memory.as_mut_ptr()), S_OK);
        Ok(Some(memory.read()))
    }

    fn read_all(&self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        // SAFETY: the pointer is NULL or leads to the structure.
        let read = |out| unsafe { self.memory.GetProperties(out) };
        if let Some(properties) = Self::read::<ALLOCATOR_PROPERTIES>(input, read)? {
            assert_eq!(properties, self.actual);
        }
        // SAFETY: the pointer is NULL or leads to a number.
        let read = |out| unsafe { self.memory.GetFreeCount(out) };
        if let Some(free) = Self::read::<i32>(input, read)? {
            if self.committed {
                assert_eq!(
                    i64::from(free),
                    i64::from(self.actual.cBuffers) - self.out()
                );
            }
        }
        // SAFETY: the pointer is NULL or leads to the structure.
        let read = |out| unsafe { self.streaming.KsGetAllocatorStatus(out) };
        if let Some(status) = Self::read::<KSSTREAMALLOCATOR_STATUS>(input, read)? {
            assert_eq!(i64::from(status.AllocatedFrames), self.out());
        }
        // SAFETY: the method has no argument.
        assert_eq!(unsafe { self.streaming.KsGetAllocatorMode() }, self.mode);
        Ok(())
    }

    fn out(&self) -> i64 {
        self.samples.len() as i64
    }

    fn set_mode(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let mode = match input.arbitrary::<u8>()? {
            small @ 0..=200 => i32::from(small % 2),
            _ => input.arbitrary()?,
        };
        // SAFETY: the argument is a number.
        let result = unsafe { self.streaming.KsSetAllocatorMode(mode) };
        let is_fixed = self.committed || !self.samples.is_empty();
        let expected = match mode {
            0 | 1 if mode != self.mode && is_fixed => VFW_E_ALREADY_COMMITTED,
            0 | 1 => S_OK,
            _ => E_INVALIDARG,
        };
        assert_eq!(result, expected);
        if result == S_OK {
            self.mode = mode;
        }
        Ok(())
    }

    /// Stores a description of a pipe, of any bytes: the crate follows none of its pointers.
    fn set_pipe(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let mut memory = Memory::new(input)?;
        let size = size_of::<ALLOCATOR_PROPERTIES_EX>();
        let start = memory.start;
        input.fill_buffer(&mut memory.bytes[start..start + size])?;
        // SAFETY: the memory has as many bytes as the structure.
        unsafe { self.streaming.KsSetProperties(memory.as_mut_ptr()) };
        // SAFETY: NULL is allowed, and ignored.
        unsafe { self.streaming.KsSetProperties(ptr::null_mut()) };
        // SAFETY: the method has no argument.
        let stored = unsafe { self.streaming.KsGetProperties() };
        // SAFETY: the address is that of the description, which nothing changes now.
        let stored = unsafe { stored.read() };
        // SAFETY: as many bytes were set; any are a value of the structure.
        let given = unsafe {
            memory
                .as_mut_ptr::<ALLOCATOR_PROPERTIES_EX>()
                .read_unaligned()
        };
        assert_eq!(stored, given);
        check_requirements(&stored);
        Ok(())
    }

    fn query(&self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let known = [
            IUnknown::IID,
            IKsAllocator::IID,
            IKsAllocatorEx::IID,
            IMemAllocator::IID,
            IMemAllocatorCallbackTemp::IID,
        ];
        let number: u8 = input.arbitrary()?;
        let iid = match known.get(usize::from(number)) {
            Some(&iid) => iid,
            None => GUID::from_u128(input.arbitrary()?),
        };
        let mut found = ptr::dangling_mut();
        // SAFETY: both pointers are valid.
        let result = unsafe { self.memory.query(&raw const iid, &raw mut found) };
        assert_eq!(result == S_OK, known.contains(&iid));
        if result == S_OK {
            // SAFETY: the method has returned one reference.
            drop(unsafe { IUnknown::from_raw(found) });
        } else {
            assert_eq!((result, found), (E_NOINTERFACE, ptr::null_mut()));
        }
        Ok(())
    }

    fn use_sample(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let number: u8 = input.arbitrary()?;
        if self.samples.is_empty() {
            return Ok(());
        }
        let index = usize::from(number) % self.samples.len();
        match input.arbitrary::<u8>()? % 16 {
            0..=3 => {
                let sample = self.samples.swap_remove(index);
                sample.check();
                drop(sample.sample.clone());
                drop(sample.sample);
            }
            4 => {
                let raw = self.samples[index].sample.as_raw();
                // SAFETY: the argument is a sample, or NULL.
                assert_eq!(unsafe { self.memory.ReleaseBuffer(raw) }, E_UNEXPECTED);
                // SAFETY: as above.
                assert_eq!(
                    unsafe { self.memory.ReleaseBuffer(ptr::null_mut()) },
                    E_POINTER
                );
            }
            5..=7 => self.samples[index].set_times(input)?,
            8 | 9 => self.samples[index].set_flags(input)?,
            10 => self.samples[index].set_length(input)?,
            11 | 12 => self.samples[index].get_properties(input)?,
            _ => self.samples[index].set_properties(input)?,
        }
        Ok(())
    }

    fn step(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        match input.arbitrary::<u8>()? % 16 {
            0 | 1 => self.set_properties(input)?,
            2 => self.commit(),
            3 => {
                // SAFETY: the method has no argument.
                assert_eq!(unsafe { self.memory.Decommit() }, S_OK);
                self.committed = false;
            }
            4..=6 => self.get_buffer(input)?,
            7 => self.read_all(input)?,
            8 => self.set_mode(input)?,
            9 if input.arbitrary()? => self.set_pipe(input)?,
            9 => check_requirements(&pipe(input)?),
            10 => self.query(input)?,
            _ => self.use_sample(input)?,
        }
        self.samples.iter().for_each(Sample::check);
        Ok(())
    }
}

impl Sample {
    fn set_times(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let (start, stop): (i64, i64) = input.arbitrary()?;
        let (mut from, mut to) = (
            Memory::holding(input, &start)?,
            Memory::holding(input, &stop)?,
        );
        let null = |is_null: bool, memory: &mut Memory| match is_null {
            true => ptr::null_mut(),
            false => memory.as_mut_ptr::<i64>(),
        };
        let (no_start, no_stop) = (rarely(input)?, rarely(input)?);
        let (from, to) = (null(no_start, &mut from), null(no_stop, &mut to));
        if rarely(input)? {
            // SAFETY: each pointer is NULL or leads to a number.
            let result = unsafe { self.sample.SetMediaTime(from, to) };
            match (no_start, no_stop) {
                (true, _) => self.media_time = None,
                (false, true) => {
                    assert_eq!(result, E_POINTER);
                    return Ok(());
                }
                (false, false) => self.media_time = Some((start, stop)),
            }
            assert_eq!(result, S_OK);
            let (mut start, mut stop) = (0, 0);
            // SAFETY: both pointers lead to numbers.
            let result = unsafe { self.sample.GetMediaTime(&raw mut start, &raw mut stop) };
            match self.media_time {
                Some(time) => assert_eq!((result, (start, stop)), (S_OK, time)),
                None => assert_eq!(result, VFW_E_MEDIA_TIME_NOT_SET),
            }
            return Ok(());
        }
        // SAFETY: each pointer is NULL or leads to a number.
        assert_eq!(unsafe { self.sample.SetTime(from, to) }, S_OK);
        let attributes = &mut self.attributes;
        attributes.start = (!no_start).then_some(start);
        attributes.stop = (!no_start && !no_stop).then_some(stop);
        attributes.set(SampleFlags::TIMEVALID, !no_start);
        attributes.set(SampleFlags::STOPVALID, !no_start && !no_stop);
        Ok(())
    }

    fn set_flags(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let (which, value): (u8, i32) = input.arbitrary()?;
        let sample = &self.sample;
        // SAFETY: the arguments are numbers.
        let (result, flag) = unsafe {
            match which % 3 {
                0 => (sample.SetSyncPoint(value), SampleFlags::SPLICEPOINT),
                1 => (sample.SetPreroll(value), SampleFlags::PREROLL),
                _ => (
                    sample.SetDiscontinuity(value),
                    SampleFlags::DATADISCONTINUITY,
                ),
            }
        };
        assert_eq!(result, S_OK);
        self.attributes.set(flag, value != 0);
        Ok(())
    }

    fn set_length(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let length = number(input)?;
        // SAFETY: the argument is a number.
        let result = unsafe { self.sample.SetActualDataLength(length) };
        // SAFETY: the method has no argument.
        let size = unsafe { self.sample.GetSize() };
        if (0..=size).contains(&length) {
            assert_eq!(result, S_OK);
            self.attributes.length = length;
        } else {
            assert_eq!(result, VFW_E_BUFFER_OVERFLOW);
        }
        Ok(())
    }

    /// Reads the structure in a number of bytes of the client.
    fn get_properties(&self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let size: u8 = input.arbitrary()?;
        let mut memory = Memory::new(input)?;
        let out = memory.as_mut_ptr();
        // SAFETY: the memory has so many bytes.
        let result = unsafe { self.sample.GetProperties(u32::from(size), out) };
        assert_eq!(result, S_OK);
        let written = usize::from(size).min(SAMPLE_SIZE);
        memory.check_around(written);
        if written >= 4 {
            let start = memory.start;
            let count = memory.bytes[start..start + 4].try_into().expect("4 bytes");
            assert_eq!(u32::from_ne_bytes(count) as usize, written);
        }
        // SAFETY: the method refuses NULL.
        let result = unsafe { self.sample.GetProperties(u32::from(size), ptr::null_mut()) };
        assert_eq!(result, if size > 0 { E_POINTER } else { S_OK });
        Ok(())
    }

    /// Sets a structure of any bytes but its media type, which is NULL.
    fn set_properties(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let mut new = self.properties();
        let (size, claimed): (u8, u8) = input.arbitrary()?;
        new.cbData = match claimed {
            200.. => input.arbitrary()?,
            _ => u32::from(claimed),
        };
        if !rarely(input)? {
            new.dwSampleFlags = u32::from(input.arbitrary::<u16>()?) & 0x7ff;
        }
        new.dwTypeSpecificFlags = input.arbitrary()?;
        if rarely(input)? {
            new.lActual = number(input)?;
        }
        (new.tStart, new.tStop) = input.arbitrary()?;
        new.dwStreamId = input.arbitrary()?;
        new.pMediaType = ptr::null_mut();
        if rarely(input)? {
            new.pbBuffer = ptr::dangling_mut();
        }
        if rarely(input)? {
            new.cbBuffer = number(input)?;
        }
        let mut memory = Memory::holding(input, &new)?;
        let from = memory.as_mut_ptr::<u8>();
        let before = self.properties();
        // SAFETY: the memory has so many bytes, and the media type is NULL.
        let result = unsafe { self.sample.SetProperties(u32::from(size), from) };
        let after = self.properties();
        if result != S_OK {
            assert!([E_INVALIDARG, E_POINTER].contains(&result), "{result}");
            assert_eq!(Attributes::of(&after), Attributes::of(&before));
            return Ok(());
        }
        let given = usize::from(size).min(new.cbData as usize);
        let has = |end: usize| usize::from(size) >= 4 && given >= end;
        let type_specific = if has(8) {
            new.dwTypeSpecificFlags
        } else {
            before.dwTypeSpecificFlags
        };
        let length = if has(16) { new.lActual } else { before.lActual };
        let stream_id = if has(36) {
            new.dwStreamId
        } else {
            before.dwStreamId
        };
        assert_eq!(
            (after.dwTypeSpecificFlags, after.lActual, after.dwStreamId),
            (type_specific, length, stream_id)
        );
        if has(12) {
            // There is no media type, so the flag for one is not set.
            let flags = new.dwSampleFlags & !SampleFlags::TYPECHANGED.bits();
            assert_eq!(after.dwSampleFlags, flags);
        }
        self.attributes = Attributes::of(&after);
        for (end, given, set) in [
            (24, new.tStart, self.attributes.start),
            (32, new.tStop, self.attributes.stop),
        ] {
            assert!(!has(end) || set.is_none_or(|set| set == given));
        }
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let allocator = ComAllocator::new(PoolAllocator::new());
    let mut run = Run {
        memory: allocator.cast().expect("it has the interface"),
        streaming: allocator.cast().expect("it has the interface"),
        actual: ALLOCATOR_PROPERTIES::default(),
        committed: false,
        mode: 0,
        samples: Vec::new(),
        next_mark: 0,
    };
    drop(allocator);
    while !input.is_empty() && run.step(&mut input).is_ok() {}
    // Samples outlive the allocator.
    let Run { samples, .. } = run;
    samples.iter().for_each(Sample::check);
});
