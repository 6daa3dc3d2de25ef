//! JSON as it comes: a scanner that is fed bytes in pieces of any size and tells the values of
//! the few fields it was asked for.
//!
//! It checks the grammar of RFC 8259 as it goes, builds no tree, and keeps no more than one text
//! of [`TEXT_BYTES_MAX`] bytes: what passes through it may be endless. A field is named by its
//! path of keys, so that the same key elsewhere, or inside a string, is never taken for it. Every
//! occurrence of a path is told, at once: who asks decides what a repeated key means, and waits
//! for [`Scanner::is_whole`] where a document that breaks off must not count.
//!
//! Keys are compared without regard to ASCII case, because some parsers behind us do the same.

mod number;
mod scanner;
#[cfg(test)]
mod tests;

pub use scanner::{DEPTH_MAX, Scanner, TEXT_BYTES_MAX};

/// The place of a value: keys from the root on, [`ELEMENT`] for each array. The root's own path
/// is empty.
pub type Path = &'static [&'static str];

/// Stands in a [`Path`] for the elements of an array.
pub const ELEMENT: &str = "[]";

/// A value at one of the paths that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit<'a> {
    /// The path's position in the list of paths.
    pub path: usize,
    /// Where the value begins, counted in bytes from the last reset; for [`Found::Close`], where
    /// its last byte is.
    pub at: u64,
    /// What was found.
    pub found: Found<'a>,
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A number from 0 to 10^15 - 1, written without fraction and exponent.
    Integer(u64),
    /// Another number.
    Number,
    /// A text.
    Text(&'a [u8]),
    /// A text longer than [`TEXT_BYTES_MAX`], or with half of a surrogate pair.
    LongText,
    /// An object or an array begins.
    Open,
    /// It ends.
    Close,
}
