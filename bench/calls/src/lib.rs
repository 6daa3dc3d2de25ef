//! An Envoy filter that makes the calls of a leased request and nothing else: no look at a price,
//! a token or a balance.
//!
//! It is built with the profile of the real filter. What it costs above the filter that does
//! nothing is the price of leaving the VM, which no filter with the same headers and log line can
//! go below. The list is that of docs/adr/0012, without the shared data that most requests of a
//! busy token do not need, and without the counter, which is raised once a tick.

#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, reason = "the SDK offers the bytes of a header map only copied")]
mod calls {
    use proxy_wasm::hostcalls;
    use proxy_wasm::traits::{Context, HttpContext, RootContext};
    use proxy_wasm::types::{Action, ContextType, MapType};

    const ACCOUNT: &[u8] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const COST: &[u8] = b"1000";
    const BALANCE: &[u8] = b"999999999000";
    const LINE: &[u8] = b"route=target account=0123456789abcdef0123456789abcdef0123456789abcdef01\
        23456789abcdef decision=ok cost_msat=1000";

    unsafe extern "C" {
        fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    }

    /// Takes the bytes and looks at none of them.
    fn take_request_headers() {
        let (mut data, mut size) = (core::ptr::null_mut(), 0_usize);
        // SAFETY: as in the filter's own header_map.rs.
        unsafe {
            if proxy_get_header_map_pairs(0, &raw mut data, &raw mut size) == 0 && !data.is_null() {
                drop(Vec::from_raw_parts(data, size, size));
            }
        }
    }

    pub(crate) struct Root;

    struct Request;

    impl Context for Root {}

    impl RootContext for Root {
        fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
            Some(Box::new(Request))
        }

        fn get_type(&self) -> Option<ContextType> {
            Some(ContextType::HttpContext)
        }
    }

    impl Context for Request {}

    impl HttpContext for Request {
        fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
            let map = MapType::HttpRequestHeaders;
            take_request_headers();
            let _ = hostcalls::get_current_time();
            let _ = hostcalls::set_map_value_bytes(map, "authorization", None);
            let told = [
                ("x-toll-account", ACCOUNT),
                ("x-toll-cost-msat", COST),
                ("x-toll-balance-msat", BALANCE),
            ];
            for (name, value) in told {
                let _ = hostcalls::add_map_value_bytes(map, name, value);
            }
            Action::Continue
        }

        fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
            let map = MapType::HttpResponseHeaders;
            let _ = hostcalls::get_map_value_bytes(map, ":status");
            for (name, value) in [("x-toll-cost-msat", COST), ("x-toll-balance-msat", BALANCE)] {
                let _ = hostcalls::set_map_value_bytes(map, name, Some(value));
            }
            let _ = hostcalls::get_map_value_bytes(map, "cache-control");
            let _ = hostcalls::add_map_value_bytes(map, "cache-control", b"private");
            Action::Continue
        }

        fn on_log(&mut self) {
            let _ = hostcalls::set_property(vec!["tollway"], Some(LINE));
        }
    }
}

// The macro expands to the module's exported entry point, which the lint counts as unsafe.
#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, missing_docs, reason = "proxy-wasm's entry point is an exported symbol")]
mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(crate::calls::Root));
    }}
}
