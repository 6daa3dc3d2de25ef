//! The scanner itself.

use alloc::vec::Vec;

use super::number::Number;
use super::{ELEMENT, Found, Hit, Path};

/// Deeper documents are refused: the open containers are kept as the bits of one word.
pub const DEPTH_MAX: u32 = 64;
/// The longest key or text that is kept.
pub const TEXT_BYTES_MAX: usize = 128;
/// The longest path has one part less.
const LEVELS: usize = 6;

/// Tells the values at certain paths of a document that comes in pieces.
///
/// ```
/// use tollway_core::scan::{Found, Scanner};
///
/// let mut scanner = Scanner::new(&[&["usage", "total"]]);
/// let mut total = 0;
/// for piece in [&br#"{"text":"\"usage\":{", "us"#[..], br#"age":{"total":1"#, b"7}}"] {
///     scanner.feed(piece, &mut |hit| {
///         if let Found::Integer(number) = hit.found {
///             total = number;
///         }
///     });
/// }
/// assert_eq!((total, scanner.is_whole()), (17, true));
/// ```
#[derive(Clone, Debug)]
pub struct Scanner {
    paths: &'static [Path],
    state: State,
    /// How many containers are open.
    depth: u32,
    /// Which of them are objects; the innermost is the lowest bit.
    objects: u64,
    /// For each open container the paths that lead to it, as bits.
    masks: [u32; LEVELS],
    /// The paths that lead to the value that comes next.
    matched: u32,
    /// The key or text that is being read, if anybody may want it.
    text: Vec<u8>,
    text_lost: bool,
    /// Bytes since the last reset.
    offset: u64,
    /// Where the value began that is being read.
    started: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Value,
    /// A value, or the end of an empty array.
    FirstElement,
    /// A key, or the end of an empty object.
    FirstKey,
    Key,
    Colon,
    /// A comma, or the end of the container.
    Next,
    Text(Role),
    Escape(Role),
    /// So many digits of a `\u` are to come; these were read.
    Unicode(Role, u8, u32),
    Number(Number),
    /// The rest of `true`, `false` or `null`, and what it stands for.
    Word(&'static [u8], Found<'static>),
    /// The root's value has ended.
    Whole,
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Key,
    Value,
}

impl Scanner {
    /// A scanner for these paths: at most 32, of at most five parts.
    #[must_use]
    pub const fn new(paths: &'static [Path]) -> Self {
        Self {
            paths,
            state: State::Value,
            depth: 0,
            objects: 0,
            masks: [0; LEVELS],
            matched: u32::MAX,
            text: Vec::new(),
            text_lost: false,
            offset: 0,
            started: 0,
        }
    }

    /// Begins a new document.
    pub fn reset(&mut self) {
        let text = core::mem::take(&mut self.text);
        *self = Self { text, ..Self::new(self.paths) };
    }

    /// Whether the document is one whole value so far. A number at the root never is: only what
    /// follows would end it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.state == State::Whole
    }

    /// Whether what came cannot be, or become, a document.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Takes the next piece and tells what it finds.
    pub fn feed(&mut self, mut bytes: &[u8], sink: &mut dyn FnMut(Hit<'_>)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let State::Text(_) = self.state {
                let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
                let plain = bytes.iter().position(special).unwrap_or(bytes.len());
                if let Some((text, rest)) = bytes.split_at_checked(plain)
                    && plain > 0
                {
                    self.keep(text);
                    self.offset = self.offset.wrapping_add(plain as u64);
                    bytes = rest;
                    continue;
                }
            }
            self.state = self.step(byte, sink);
            self.offset = self.offset.wrapping_add(1);
            bytes = rest;
        }
    }

    fn step(&mut self, byte: u8, sink: &mut dyn FnMut(Hit<'_>)) -> State {
        let space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        match self.state {
            State::Number(number) => match number.with(byte) {
                Some(number) => State::Number(number),
                None => match number.end() {
                    Some(found) => {
                        self.tell(found, sink);
                        self.state = self.after_value();
                        self.step(byte, sink)
                    }
                    None => State::Broken,
                },
            },
            State::Text(role) => match byte {
                b'"' => self.end_text(role, sink),
                b'\\' => State::Escape(role),
                _ => State::Broken,
            },
            State::Escape(role) => self.escaped(role, byte),
            State::Unicode(role, left, code) => self.unicode(role, left, code, byte),
            State::Word(rest, found) => match rest.split_first() {
                Some((expected, rest)) if *expected == byte => {
                    if rest.is_empty() {
                        self.tell(found, sink);
                        self.after_value()
                    } else {
                        State::Word(rest, found)
                    }
                }
                _ => State::Broken,
            },
            state if space => state,
            State::FirstElement if byte == b']' => self.close(sink),
            State::FirstElement => {
                self.matched = self.leading(None);
                self.begin(byte, sink)
            }
            State::Value => self.begin(byte, sink),
            State::FirstKey if byte == b'}' => self.close(sink),
            State::FirstKey | State::Key if byte == b'"' => self.begin_text(Role::Key),
            State::Colon if byte == b':' => State::Value,
            State::Next => self.next(byte, sink),
            State::FirstKey | State::Key | State::Colon | State::Whole | State::Broken => {
                State::Broken
            }
        }
    }

    /// A value begins with this byte.
    fn begin(&mut self, byte: u8, sink: &mut dyn FnMut(Hit<'_>)) -> State {
        self.started = self.offset;
        match byte {
            b'{' => self.open(true, sink),
            b'[' => self.open(false, sink),
            b'"' => self.begin_text(Role::Value),
            b't' => State::Word(b"rue", Found::Flag(true)),
            b'f' => State::Word(b"alse", Found::Flag(false)),
            b'n' => State::Word(b"ull", Found::Null),
            _ => Number::begin(byte).map_or(State::Broken, State::Number),
        }
    }

    fn open(&mut self, object: bool, sink: &mut dyn FnMut(Hit<'_>)) -> State {
        if self.depth >= DEPTH_MAX {
            return State::Broken;
        }
        self.tell(Found::Open, sink);
        self.depth += 1;
        self.objects = self.objects << 1 | u64::from(object);
        if let Some(mask) = self.masks.get_mut(self.depth as usize) {
            *mask = self.matched;
        }
        if object { State::FirstKey } else { State::FirstElement }
    }

    fn close(&mut self, sink: &mut dyn FnMut(Hit<'_>)) -> State {
        self.matched = self.mask();
        self.depth = self.depth.saturating_sub(1);
        self.objects >>= 1;
        self.started = self.offset;
        self.tell(Found::Close, sink);
        self.after_value()
    }

    fn next(&mut self, byte: u8, sink: &mut dyn FnMut(Hit<'_>)) -> State {
        match (byte, self.objects & 1 == 1) {
            (b',', true) => State::Key,
            (b',', false) => {
                self.matched = self.leading(None);
                State::Value
            }
            (b'}', true) | (b']', false) => self.close(sink),
            _ => State::Broken,
        }
    }

    const fn after_value(&self) -> State {
        if self.depth == 0 { State::Whole } else { State::Next }
    }

    fn begin_text(&mut self, role: Role) -> State {
        self.text.clear();
        self.text_lost = false;
        State::Text(role)
    }

    fn end_text(&mut self, role: Role, sink: &mut dyn FnMut(Hit<'_>)) -> State {
        let text = core::mem::take(&mut self.text);
        let next = match role {
            Role::Key => {
                self.matched = if self.text_lost { 0 } else { self.leading(Some(&text)) };
                State::Colon
            }
            Role::Value => {
                let found = if self.text_lost { Found::LongText } else { Found::Text(&text) };
                self.tell(found, sink);
                self.after_value()
            }
        };
        self.text = text;
        next
    }

    fn escaped(&mut self, role: Role, byte: u8) -> State {
        let plain = match byte {
            b'u' => return State::Unicode(role, 4, 0),
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            _ => return State::Broken,
        };
        self.keep(&[plain]);
        State::Text(role)
    }

    fn unicode(&mut self, role: Role, left: u8, code: u32, byte: u8) -> State {
        let Some(digit) = char::from(byte).to_digit(16) else { return State::Broken };
        let code = code << 4 | digit;
        if left > 1 {
            return State::Unicode(role, left - 1, code);
        }
        match char::from_u32(code) {
            Some(char) => self.keep(char.encode_utf8(&mut [0; 4]).as_bytes()),
            None => self.text_lost = true,
        }
        State::Text(role)
    }

    /// Keeps a part of a key or text, unless the whole grows too long or nobody can want it.
    fn keep(&mut self, part: &[u8]) {
        let wanted = match self.state {
            State::Text(Role::Key) | State::Escape(Role::Key) | State::Unicode(Role::Key, ..) => {
                self.mask()
            }
            _ => self.matched,
        };
        if wanted == 0 || self.text.len().saturating_add(part.len()) > TEXT_BYTES_MAX {
            self.text_lost = true;
        }
        if !self.text_lost {
            self.text.extend_from_slice(part);
        }
    }

    /// The paths that lead to the innermost open container.
    fn mask(&self) -> u32 {
        self.masks.get(self.depth as usize).copied().unwrap_or(0)
    }

    /// The paths that lead from the innermost container to this key, or to its elements.
    fn leading(&self, key: Option<&[u8]>) -> u32 {
        let (mask, part) = (self.mask(), self.depth.saturating_sub(1) as usize);
        self.select(mask, |path| match (path.get(part), key) {
            (Some(&ELEMENT), key) => key.is_none(),
            (Some(name), Some(key)) => name.as_bytes().eq_ignore_ascii_case(key),
            _ => false,
        })
    }

    /// The paths of `mask` that `keep` keeps.
    fn select(&self, mask: u32, keep: impl Fn(Path) -> bool) -> u32 {
        let kept = |(at, path): (usize, &Path)| {
            let bit = 1_u32.checked_shl(u32::try_from(at).ok()?)?;
            (mask & bit != 0 && keep(path)).then_some(bit)
        };
        // Most of what passes is at no path at all.
        if mask == 0 { 0 } else { self.paths.iter().enumerate().filter_map(kept).sum() }
    }

    /// Tells every path that ends here what was found.
    fn tell(&self, found: Found<'_>, sink: &mut dyn FnMut(Hit<'_>)) {
        let ending = self.select(self.matched, |path| path.len() == self.depth as usize);
        for path in 0..self.paths.len() {
            if ending >> path & 1 == 1 {
                sink(Hit { path, at: self.started, found });
            }
        }
    }
}
