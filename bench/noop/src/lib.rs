//! An Envoy filter that does nothing: what wasm costs by itself.
//!
//! It is built with the profile of the real filter and has the same contexts, so that what the
//! real filter costs above it is what the real filter does.

#[cfg(target_arch = "wasm32")]
mod noop {
    use proxy_wasm::traits::{Context, HttpContext, RootContext};
    use proxy_wasm::types::ContextType;

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
    impl HttpContext for Request {}
}

// The macro expands to the module's exported entry point, which the lint counts as unsafe.
#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, missing_docs, reason = "proxy-wasm's entry point is an exported symbol")]
mod entry {
    proxy_wasm::main! {{ proxy_wasm::set_root_context(|_| Box::new(crate::noop::Root)); }}
}
