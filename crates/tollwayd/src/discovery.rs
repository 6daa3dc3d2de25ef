//! Documents that tell machines what is sold: made from the filter's own configuration, anew
//! whenever its file changes.
//!
//! A file that cannot be used changes nothing: what was found last is served on, and the log says
//! so once.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tollway_lint::{Form, describe, read};

use crate::config::DiscoveryConfig;

/// What is published, and from which file.
#[derive(Clone)]
pub(crate) struct Discovery(Option<Arc<Source>>);

struct Source {
    config: DiscoveryConfig,
    last: Mutex<Last>,
}

/// The last look.
#[derive(Default)]
struct Last {
    /// When the file was changed, and how long it was.
    file: Option<(SystemTime, u64)>,
    documents: Option<Arc<Documents>>,
}

/// The documents, as text.
#[derive(Debug)]
pub(crate) struct Documents {
    pub(crate) manifest: String,
    pub(crate) openapi: String,
    pub(crate) llms: String,
}

impl Discovery {
    pub(crate) fn new(config: Option<DiscoveryConfig>) -> Self {
        let source = |config| Arc::new(Source { config, last: Mutex::default() });
        Self(config.map(source))
    }

    /// The documents of now; `None` where none are published, or none could be made yet. Reads a
    /// file.
    pub(crate) fn documents(&self) -> Option<Arc<Documents>> {
        self.0.as_ref()?.documents()
    }
}

impl Source {
    fn documents(&self) -> Option<Arc<Documents>> {
        let DiscoveryConfig { filter_config, title } = &self.config;
        let file = std::fs::metadata(filter_config)
            .and_then(|file| Ok((file.modified()?, file.len())))
            .ok();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_none() || file != last.file {
            match made(filter_config, title) {
                Ok(documents) => last.documents = Some(Arc::new(documents)),
                Err(problem) if file != last.file || last.documents.is_none() => {
                    let file = filter_config.display();
                    tracing::warn!(%file, problem, "the prices of this file cannot be published");
                }
                Err(_) => {}
            }
            last.file = file;
        }
        last.documents.clone()
    }
}

fn made(file: &Path, title: &str) -> Result<Documents, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let found = read(&text).map_err(|error| error.to_string())?;
    let first = found.first().ok_or("no configuration of the filter is in it")?;
    let document = |form| describe(&first.filter, title, form).map_err(|error| error.to_string());
    Ok(Documents {
        manifest: document(Form::Manifest)?,
        openapi: document(Form::OpenApi)?,
        llms: document(Form::Llms)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_follows_the_file_and_outlives_a_bad_one() {
        let directory = tempfile::tempdir().unwrap();
        let filter_config = directory.path().join("filter.json");
        let title = "Jokes".to_owned();
        let config = DiscoveryConfig { filter_config: filter_config.clone(), title };
        let discovery = Discovery::new(Some(config));
        assert!(discovery.documents().is_none(), "there is no file yet");
        let shipped = include_str!("../../../envoy/filter.json");
        std::fs::write(&filter_config, shipped).unwrap();
        let first = discovery.documents().unwrap();
        assert!(first.openapi.contains("\"price_msat\": 5000"), "{}", first.openapi);
        assert!(first.manifest.contains("\"Jokes\"") && first.llms.contains("/api/joke"));
        assert!(Arc::ptr_eq(&first, &discovery.documents().unwrap()), "nothing has changed");
        // Another length, so that a coarse clock does not matter.
        std::fs::write(
            &filter_config,
            shipped.replace("\"price_sats\": 5,", "\"price_sats\": 77,"),
        )
        .unwrap();
        let second = discovery.documents().unwrap();
        assert!(second.openapi.contains("\"price_msat\": 77000"), "{}", second.openapi);
        std::fs::write(&filter_config, "{}").unwrap();
        assert!(Arc::ptr_eq(&second, &discovery.documents().unwrap()));
        std::fs::remove_file(&filter_config).unwrap();
        assert!(Arc::ptr_eq(&second, &discovery.documents().unwrap()));
        assert!(Discovery::new(None).documents().is_none());
    }
}
