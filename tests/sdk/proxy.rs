//! The proxy's side of the ABI (proxy-wasm 0.2.1), in plain memory.
//!
//! It is strict where a real proxy is: an unknown key of a map is NotFound, and what the filter
//! sends is kept for the test to read. State is per thread, as the SDK's own is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::slice;

/// Buffer types and map types of the ABI that the filter uses.
const REQUEST_BODY: u32 = 0;
const RESPONSE_BODY: u32 = 1;
const CALL_RESPONSE_BODY: u32 = 4;
const PLUGIN_CONFIGURATION: u32 = 7;
pub(crate) const REQUEST_HEADERS: u32 = 0;
pub(crate) const RESPONSE_HEADERS: u32 = 2;
pub(crate) const CALL_RESPONSE_HEADERS: u32 = 6;

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const BAD_ARGUMENT: u32 = 2;
const EMPTY: u32 = 7;
const CAS_MISMATCH: u32 = 8;

pub(crate) type Headers = Vec<(String, Vec<u8>)>;

/// A call to a cluster.
#[derive(Clone, Debug)]
pub(crate) struct SentCall {
    pub(crate) token: u32,
    pub(crate) cluster: String,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

/// A response that the filter sent itself.
#[derive(Clone, Debug)]
pub(crate) struct LocalReply {
    pub(crate) status: u32,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    pub(crate) grpc_status: i32,
}

/// Everything the proxy knows and was told.
#[derive(Default)]
pub(crate) struct Proxy {
    pub(crate) now_ns: u64,
    pub(crate) configuration: Vec<u8>,
    pub(crate) maps: HashMap<u32, Headers>,
    pub(crate) call_body: Vec<u8>,
    pub(crate) request_body: Vec<u8>,
    pub(crate) response_body: Vec<u8>,
    pub(crate) properties: HashMap<String, Vec<u8>>,
    pub(crate) tick_ms: u32,
    pub(crate) calls: Vec<SentCall>,
    pub(crate) calls_sent: u32,
    pub(crate) replies: Vec<LocalReply>,
    pub(crate) resumed: u32,
    /// The streams that live, those that were resumed, and the one host calls are about.
    pub(crate) streams: Vec<u32>,
    pub(crate) resumed_streams: Vec<u32>,
    pub(crate) effective: u32,
    /// The streams that the filter cut off.
    pub(crate) cut: Vec<u32>,
    pub(crate) metrics: Vec<(String, i64)>,
    pub(crate) shared: HashMap<String, (Vec<u8>, u32)>,
    pub(crate) shared_changes: u32,
    pub(crate) log: Vec<String>,
    /// The names of queues, and which have an item each.
    pub(crate) queues: Vec<String>,
    pub(crate) queued: Vec<u32>,
}

thread_local! {
    static PROXY: RefCell<Proxy> = RefCell::default();
}

/// Runs `with` on this thread's proxy.
pub(crate) fn proxy<T>(with: impl FnOnce(&mut Proxy) -> T) -> T {
    PROXY.with_borrow_mut(with)
}

fn bytes(data: *const u8, size: usize) -> Vec<u8> {
    if data.is_null() { Vec::new() } else { unsafe { slice::from_raw_parts(data, size) }.to_vec() }
}

fn text(data: *const u8, size: usize) -> String {
    String::from_utf8_lossy(&bytes(data, size)).into_owned()
}

/// Hands bytes over to the SDK, which frees them as its own.
fn give(value: Vec<u8>, data: *mut *mut u8, size: *mut usize) {
    let boxed = value.into_boxed_slice();
    unsafe {
        *size = boxed.len();
        *data = Box::into_raw(boxed).cast();
    }
}

fn parse_map(bytes: &[u8]) -> Headers {
    let number = |at: usize| {
        bytes.get(at..at + 4).map_or(0, |raw| u32::from_le_bytes(raw.try_into().unwrap()) as usize)
    };
    let count = if bytes.is_empty() { 0 } else { number(0) };
    let mut at = 4 + count * 8;
    let mut map = Headers::new();
    for n in 0..count {
        let (name, value) = (number(4 + n * 8), number(8 + n * 8));
        let key = String::from_utf8_lossy(&bytes[at..at + name]).into_owned();
        map.push((key, bytes[at + name + 1..at + name + 1 + value].to_vec()));
        at += name + value + 2;
    }
    map
}

fn serialize_map(map: &Headers) -> Vec<u8> {
    let mut out = (map.len() as u32).to_le_bytes().to_vec();
    for (name, value) in map {
        out.extend((name.len() as u32).to_le_bytes());
        out.extend((value.len() as u32).to_le_bytes());
    }
    for (name, value) in map {
        out.extend(name.bytes().chain([0]).chain(value.iter().copied()).chain([0]));
    }
    out
}

#[unsafe(no_mangle)]
extern "C" fn proxy_log(_level: u32, data: *const u8, size: usize) -> u32 {
    proxy(|proxy| proxy.log.push(text(data, size)));
    OK
}

#[unsafe(no_mangle)]
extern "C" fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32 {
    unsafe { *time = proxy(|proxy| proxy.now_ns) };
    OK
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_tick_period_milliseconds(period: u32) -> u32 {
    proxy(|proxy| proxy.tick_ms = period);
    OK
}

#[unsafe(no_mangle)]
extern "C" fn proxy_get_buffer_bytes(
    buffer: u32,
    start: usize,
    max: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    let whole = proxy(|proxy| match buffer {
        PLUGIN_CONFIGURATION => proxy.configuration.clone(),
        CALL_RESPONSE_BODY => proxy.call_body.clone(),
        REQUEST_BODY => proxy.request_body.clone(),
        RESPONSE_BODY => proxy.response_body.clone(),
        _ => Vec::new(),
    });
    if whole.is_empty() {
        return NOT_FOUND;
    }
    give(whole.into_iter().skip(start).take(max).collect(), data, size);
    OK
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_buffer_bytes(
    buffer: u32,
    start: usize,
    length: usize,
    data: *const u8,
    size: usize,
) -> u32 {
    let text = bytes(data, size);
    proxy(|proxy| {
        let body = match buffer {
            REQUEST_BODY => &mut proxy.request_body,
            RESPONSE_BODY => &mut proxy.response_body,
            _ => return NOT_FOUND,
        };
        let end = body.len();
        body.splice(start.min(end)..(start + length).min(end), text);
        OK
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32 {
    match proxy(|proxy| proxy.maps.get(&map).map(serialize_map)) {
        Some(bytes) => {
            give(bytes, data, size);
            OK
        }
        None => BAD_ARGUMENT,
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_get_header_map_value(
    map: u32,
    key: *const u8,
    key_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    let key = text(key, key_size);
    let found = proxy(|proxy| {
        let map = proxy.maps.get(&map)?;
        Some(map.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone()))
    });
    match found {
        Some(Some(value)) => {
            give(value, data, size);
            OK
        }
        Some(None) => NOT_FOUND,
        // As a real host: this phase has no such map.
        None => BAD_ARGUMENT,
    }
}

fn change_map(map: u32, change: impl FnOnce(&mut Headers)) -> u32 {
    proxy(|proxy| proxy.maps.get_mut(&map).map(change)).map_or(BAD_ARGUMENT, |()| OK)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_remove_header_map_value(map: u32, key: *const u8, size: usize) -> u32 {
    let key = text(key, size);
    change_map(map, |headers| headers.retain(|(name, _)| *name != key))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_replace_header_map_value(
    map: u32,
    key: *const u8,
    key_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    let (key, value) = (text(key, key_size), bytes(value, value_size));
    change_map(map, |headers| {
        headers.retain(|(name, _)| *name != key);
        headers.push((key, value));
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_add_header_map_value(
    map: u32,
    key: *const u8,
    key_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    let (key, value) = (text(key, key_size), bytes(value, value_size));
    change_map(map, |headers| headers.push((key, value)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_get_property(
    path: *const u8,
    path_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    let path = text(path, path_size).replace('\0', ".");
    match proxy(|proxy| proxy.properties.get(&path).cloned()) {
        Some(value) => {
            give(value, data, size);
            OK
        }
        None => NOT_FOUND,
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_property(
    path: *const u8,
    path_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    let (path, value) = (text(path, path_size).replace('\0', "."), bytes(value, value_size));
    proxy(|proxy| proxy.properties.insert(path, value));
    OK
}

#[unsafe(no_mangle)]
extern "C" fn proxy_continue_stream(_stream: u32) -> u32 {
    proxy(|proxy| {
        proxy.resumed += 1;
        proxy.resumed_streams.push(proxy.effective);
    });
    OK
}

#[unsafe(no_mangle)]
extern "C" fn proxy_close_stream(_stream: u32) -> u32 {
    proxy(|proxy| proxy.cut.push(proxy.effective));
    OK
}

#[unsafe(no_mangle)]
extern "C" fn proxy_send_local_response(
    status: u32,
    _details: *const u8,
    _details_size: usize,
    body: *const u8,
    body_size: usize,
    headers: *const u8,
    headers_size: usize,
    grpc_status: i32,
) -> u32 {
    let headers = parse_map(&bytes(headers, headers_size));
    let body = bytes(body, body_size);
    proxy(|proxy| proxy.replies.push(LocalReply { status, headers, body, grpc_status }));
    OK
}

#[unsafe(no_mangle)]
extern "C" fn proxy_http_call(
    cluster: *const u8,
    cluster_size: usize,
    headers: *const u8,
    headers_size: usize,
    body: *const u8,
    body_size: usize,
    _trailers: *const u8,
    _trailers_size: usize,
    _timeout_ms: u32,
    token: *mut u32,
) -> u32 {
    let cluster = text(cluster, cluster_size);
    let headers = parse_map(&bytes(headers, headers_size));
    let body = bytes(body, body_size);
    proxy(|proxy| {
        proxy.calls_sent += 1;
        unsafe { *token = proxy.calls_sent };
        proxy.calls.push(SentCall { token: proxy.calls_sent, cluster, headers, body });
    });
    OK
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_effective_context(context: u32) -> u32 {
    proxy(|proxy| {
        // As a real host: a context that was deleted is none.
        if !proxy.streams.contains(&context) {
            return BAD_ARGUMENT;
        }
        proxy.effective = context;
        OK
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_define_metric(_kind: u32, name: *const u8, size: usize, id: *mut u32) -> u32 {
    let name = text(name, size);
    proxy(|proxy| {
        proxy.metrics.push((name, 0));
        unsafe { *id = proxy.metrics.len() as u32 - 1 };
    });
    OK
}

#[unsafe(no_mangle)]
extern "C" fn proxy_increment_metric(id: u32, offset: i64) -> u32 {
    proxy(|proxy| proxy.metrics.get_mut(id as usize).map(|(_, value)| *value += offset))
        .map_or(NOT_FOUND, |()| OK)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_record_metric(id: u32, value: u64) -> u32 {
    proxy(|proxy| proxy.metrics.get_mut(id as usize).map(|(_, last)| *last = value as i64))
        .map_or(NOT_FOUND, |()| OK)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_get_shared_data(
    key: *const u8,
    key_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
    version: *mut u32,
) -> u32 {
    let key = text(key, key_size);
    match proxy(|proxy| proxy.shared.get(&key).cloned()) {
        Some((value, now)) => {
            unsafe { *version = now };
            give(value, data, size);
            OK
        }
        None => NOT_FOUND,
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_shared_data(
    key: *const u8,
    key_size: usize,
    value: *const u8,
    value_size: usize,
    version: u32,
) -> u32 {
    let (key, value) = (text(key, key_size), bytes(value, value_size));
    proxy(|proxy| {
        if version != 0 && proxy.shared.get(&key).is_some_and(|(_, now)| *now != version) {
            return CAS_MISMATCH;
        }
        proxy.shared_changes += 1;
        let now = proxy.shared_changes;
        proxy.shared.insert(key, (value, now));
        OK
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_register_shared_queue(name: *const u8, size: usize, id: *mut u32) -> u32 {
    let name = text(name, size);
    proxy(|proxy| {
        proxy.queues.push(name);
        unsafe { *id = proxy.queues.len() as u32 };
    });
    OK
}

#[unsafe(no_mangle)]
extern "C" fn proxy_enqueue_shared_queue(id: u32, _item: *const u8, _size: usize) -> u32 {
    proxy(|proxy| {
        if id as usize > proxy.queues.len() {
            return NOT_FOUND;
        }
        proxy.queued.push(id);
        OK
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_dequeue_shared_queue(id: u32, data: *mut *mut u8, size: *mut usize) -> u32 {
    let at = proxy(|proxy| proxy.queued.iter().position(|queued| *queued == id));
    let Some(at) = at else { return EMPTY };
    proxy(|proxy| proxy.queued.remove(at));
    give(Vec::new(), data, size);
    OK
}

/// Host functions that the SDK links and the filter never calls.
macro_rules! never_called {
    ($($name:ident)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> u32 {
            // A panic may not cross the ABI.
            eprintln!("the filter called {}", stringify!($name));
            std::process::abort()
        }
    )*};
}

never_called! {
    proxy_get_log_level proxy_set_header_map_pairs
    proxy_resolve_shared_queue proxy_grpc_call
    proxy_grpc_stream proxy_grpc_send proxy_grpc_cancel proxy_grpc_close proxy_get_status
    proxy_call_foreign_function proxy_done proxy_get_metric
}
