//! Finds what the stack is made of: the repository's files, the two programs, the filter.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::StackError;

/// The files a stack needs.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The repository's root, for `envoy/`.
    pub root: PathBuf,
    /// The Envoy binary: `TOLLWAY_ENVOY`, the one `make setup` installs, or `envoy` on the path.
    pub envoy: PathBuf,
    /// The filter: `TOLLWAY_WASM`, or where `make wasm` puts it.
    pub wasm: PathBuf,
    /// The companion: `TOLLWAY_TOLLWAYD`, beside this program, or in the target directory.
    pub tollwayd: PathBuf,
}

impl Parts {
    /// Finds every part.
    ///
    /// # Errors
    /// A part is missing; the message names the remedy.
    pub fn locate() -> Result<Self, StackError> {
        let root = root()?;
        let target = target_dir(&root);
        Ok(Self { envoy: envoy(&root)?, wasm: wasm(&target)?, tollwayd: tollwayd(&target)?, root })
    }
}

/// The repository: above the package that cargo runs, or above the current directory.
///
/// # Errors
/// Neither is inside the repository.
pub fn root() -> Result<PathBuf, StackError> {
    let starts = [env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from), env::current_dir().ok()];
    starts
        .iter()
        .flatten()
        .flat_map(|start| start.ancestors())
        .find(|dir| dir.join("envoy/envoy.yaml").is_file())
        .map(Path::to_owned)
        .ok_or_else(|| {
            StackError::new("find the repository", "no envoy/envoy.yaml here or above")
                .with_remedy("Run this inside the repository.")
        })
}

fn target_dir(root: &Path) -> PathBuf {
    // Cargo resolves a relative CARGO_TARGET_DIR against the directory it runs in: the root.
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}

fn envoy(root: &Path) -> Result<PathBuf, StackError> {
    let step = "find Envoy";
    if let Some(given) = env::var_os("TOLLWAY_ENVOY") {
        return existing(step, PathBuf::from(given), "TOLLWAY_ENVOY names no file.");
    }
    let installed = fs::read_dir(root.join(".tools/venv/lib")).ok().and_then(|versions| {
        versions
            .flatten()
            .map(|version| version.path().join("site-packages/envoy/_bin/envoy"))
            .find(|path| path.is_file())
    });
    let on_path = || {
        let path = env::var_os("PATH")?;
        env::split_paths(&path).map(|dir| dir.join("envoy")).find(|path| path.is_file())
    };
    installed.or_else(on_path).ok_or_else(|| {
        StackError::new(step, "neither in .tools/venv nor on the PATH")
            .with_remedy("Run `make setup`, or name a binary of Envoy 1.40 in TOLLWAY_ENVOY.")
    })
}

fn wasm(target: &Path) -> Result<PathBuf, StackError> {
    let path = env::var_os("TOLLWAY_WASM")
        .map_or_else(|| target.join("wasm32-wasip1/filter/tollway.wasm"), PathBuf::from);
    existing("find the filter", path, "Run `make wasm`, or name the file in TOLLWAY_WASM.")
}

fn tollwayd(target: &Path) -> Result<PathBuf, StackError> {
    let step = "find tollwayd";
    if let Some(given) = env::var_os("TOLLWAY_TOLLWAYD") {
        return existing(step, PathBuf::from(given), "TOLLWAY_TOLLWAYD names no file.");
    }
    let beside = env::current_exe().ok();
    let beside = beside.iter().flat_map(|exe| exe.ancestors().skip(1).take(2));
    beside
        .map(Path::to_owned)
        .chain([target.join("debug"), target.join("release")])
        .map(|dir| dir.join("tollwayd"))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            StackError::new(step, format!("no such program in {}", target.display()))
                .with_remedy("Run `make build`, or name the program in TOLLWAY_TOLLWAYD.")
        })
}

fn existing(step: &str, path: PathBuf, remedy: &str) -> Result<PathBuf, StackError> {
    if path.is_file() {
        return Ok(path);
    }
    Err(StackError::new(step, format!("no file {}", path.display())).with_remedy(remedy))
}
