//! The request's headers as the host hands them over.
//!
//! The SDK's call makes two allocations for each header and reads each name as UTF-8, which costs a
//! paid request a tenth of what the filter adds (docs/adr/0014). This is the same call of the ABI,
//! with the host's bytes left as they are.

use core::ptr;

use tollway_core::header_block::HeaderBlock;

/// The map of the request's headers (`HttpRequestHeaders` in the ABI's list).
const REQUEST_HEADERS: u32 = 0;

/// The request's headers; none if the host has none to give, which no route then matches.
pub(crate) fn request_headers() -> HeaderBlock {
    HeaderBlock::parse(serialized(REQUEST_HEADERS)).unwrap_or_default()
}

#[allow(unsafe_code, reason = "the SDK offers the bytes of a header map only copied")]
fn serialized(map: u32) -> Vec<u8> {
    unsafe extern "C" {
        /// Has the host put a map into memory that it asks this module for.
        fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    }

    let (mut data, mut size) = (ptr::null_mut(), 0_usize);
    // SAFETY: both places live until the call returns, and the host writes a pointer and a size.
    let status = unsafe { proxy_get_header_map_pairs(map, &raw mut data, &raw mut size) };
    if status != 0 || data.is_null() {
        return Vec::new();
    }
    // SAFETY: the host got `data` from the SDK's `proxy_on_memory_allocate`, which gives away a
    // boxed slice of just `size` bytes of the global allocator, and left it to us.
    unsafe { Vec::from_raw_parts(data, size, size) }
}
