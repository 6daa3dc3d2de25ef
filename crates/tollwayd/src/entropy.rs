//! Randomness from the operating system, for keys, seeds and invoices.

/// The operating system gave no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub(crate) struct EntropyError;

/// Unpredictable bytes.
///
/// # Errors
/// [`EntropyError`] if the operating system gives none.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], EntropyError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| EntropyError)?;
    Ok(bytes)
}
