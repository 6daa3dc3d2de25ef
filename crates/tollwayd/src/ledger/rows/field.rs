//! Domain types to database values and back. A value that cannot be one is refused, never
//! guessed.

use std::borrow::Cow;

use tollway_core::budget::BudgetWindow;
use tollway_core::digest::Digest;
use tollway_core::id::{HoldId, KeyId};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::tier::Tier;
use tollway_core::wire::{Buys, Proof};

use crate::ledger::KeyBytes;

/// A value in a column, lent where it lies: a row that is written or read has no copies of its
/// own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ledger) enum Value<'a> {
    Null,
    Int(i64),
    Bytes(Cow<'a, [u8]>),
    Text(Cow<'a, str>),
}

impl Value<'_> {
    /// The value with a copy of its own.
    pub(in crate::ledger) fn into_owned(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Int(number) => Value::Int(number),
            Self::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.into_owned())),
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
        }
    }
}

/// What a column holds beside null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ledger) enum Kind {
    Int,
    Bytes,
    Text,
}

/// A type that a column can hold.
pub(in crate::ledger) trait Field: Sized {
    const KIND: Kind;

    fn put(&self) -> Value<'_>;

    /// `None` for a value that is not one of this type.
    fn get(value: Value<'_>) -> Option<Self>;
}

/// Beyond the year 292,000,000 time stands still; amounts fit easily.
impl Field for u64 {
    const KIND: Kind = Kind::Int;

    fn put(&self) -> Value<'_> {
        Value::Int(int(*self))
    }

    fn get(value: Value<'_>) -> Option<Self> {
        i64::get(value)?.try_into().ok()
    }
}

impl Field for i64 {
    const KIND: Kind = Kind::Int;

    fn put(&self) -> Value<'_> {
        Value::Int(*self)
    }

    fn get(value: Value<'_>) -> Option<Self> {
        if let Value::Int(number) = value { Some(number) } else { None }
    }
}

impl Field for String {
    const KIND: Kind = Kind::Text;

    fn put(&self) -> Value<'_> {
        Value::Text(Cow::Borrowed(self))
    }

    fn get(value: Value<'_>) -> Option<Self> {
        if let Value::Text(text) = value { Some(text.into_owned()) } else { None }
    }
}

impl Field for Vec<u8> {
    const KIND: Kind = Kind::Bytes;

    fn put(&self) -> Value<'_> {
        Value::Bytes(Cow::Borrowed(self))
    }

    fn get(value: Value<'_>) -> Option<Self> {
        if let Value::Bytes(bytes) = value { Some(bytes.into_owned()) } else { None }
    }
}

impl<const N: usize> Field for [u8; N] {
    const KIND: Kind = Kind::Bytes;

    fn put(&self) -> Value<'_> {
        Value::Bytes(Cow::Borrowed(self))
    }

    fn get(value: Value<'_>) -> Option<Self> {
        if let Value::Bytes(bytes) = value { bytes.as_ref().try_into().ok() } else { None }
    }
}

impl<T: Field> Field for Option<T> {
    const KIND: Kind = T::KIND;

    fn put(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, T::put)
    }

    fn get(value: Value<'_>) -> Option<Self> {
        if value == Value::Null { Some(None) } else { T::get(value).map(Some) }
    }
}

/// Fields that are stored as numbers.
macro_rules! stored_as_int {
    ($($type:ty: $put:expr, $get:expr;)+) => {$(
        impl Field for $type {
            const KIND: Kind = Kind::Int;

            fn put(&self) -> Value<'_> {
                let put: fn(&Self) -> i64 = $put;
                Value::Int(put(self))
            }

            fn get(value: Value<'_>) -> Option<Self> {
                let get: fn(i64) -> Option<Self> = $get;
                get(i64::get(value)?)
            }
        }
    )+};
}

stored_as_int! {
    u32: |number| i64::from(*number), |stored| stored.try_into().ok();
    bool: |truth| i64::from(*truth), |stored| match stored {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    };
    Msat: |amount| int(amount.get()), |stored| Msat::new(stored.try_into().ok()?);
    KeyId: |id| id.get().into(), |stored| stored.try_into().ok().map(KeyId::new);
}

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Fields that are stored as the bytes they are.
macro_rules! stored_as_bytes {
    ($($type:ty: $bytes:expr, $new:expr;)+) => {$(
        impl Field for $type {
            const KIND: Kind = Kind::Bytes;

            fn put(&self) -> Value<'_> {
                let bytes: fn(&Self) -> &[u8] = $bytes;
                Value::Bytes(Cow::Borrowed(bytes(self)))
            }

            fn get(value: Value<'_>) -> Option<Self> {
                Field::get(value).map($new)
            }
        }
    )+};
}

stored_as_bytes! {
    Digest: |digest| digest.as_bytes(), Digest::from_bytes;
    PaymentHash: |hash| hash.as_bytes(), PaymentHash::from_bytes;
    HoldId: |id| id.as_bytes(), HoldId::from_bytes;
    KeyBytes: |key| &key.0, KeyBytes;
}

impl Field for Buys {
    const KIND: Kind = Kind::Text;

    fn put(&self) -> Value<'_> {
        Value::Text(Cow::Borrowed(match self {
            Self::Credit => "credit",
            Self::Session => "session",
        }))
    }

    fn get(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Text(text) if text == "credit" => Some(Self::Credit),
            Value::Text(text) if text == "session" => Some(Self::Session),
            _ => None,
        }
    }
}

impl Field for Proof {
    const KIND: Kind = Kind::Text;

    fn put(&self) -> Value<'_> {
        Value::Text(Cow::Borrowed(match self {
            Self::Preimage => "preimage",
            Self::Lookup => "lookup",
            Self::Hash => "hash",
        }))
    }

    fn get(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Text(text) if text == "preimage" => Some(Self::Preimage),
            Value::Text(text) if text == "lookup" => Some(Self::Lookup),
            Value::Text(text) if text == "hash" => Some(Self::Hash),
            _ => None,
        }
    }
}

impl Field for BudgetWindow {
    const KIND: Kind = Kind::Text;

    fn put(&self) -> Value<'_> {
        Value::Text(self.to_string().into())
    }

    fn get(value: Value<'_>) -> Option<Self> {
        if let Value::Text(text) = value { text.parse().ok() } else { None }
    }
}

impl Field for Tier {
    const KIND: Kind = Kind::Text;

    fn put(&self) -> Value<'_> {
        Value::Text(Cow::Borrowed(self.name()))
    }

    fn get(value: Value<'_>) -> Option<Self> {
        if let Value::Text(text) = value { Self::parse(&text) } else { None }
    }
}

/// A closed set of words, stored as text.
macro_rules! words {
    ($(#[$doc:meta])* $visibility:vis enum $name:ident {
        $($(#[$word_doc:meta])* $word:ident = $text:literal),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        $visibility enum $name { $($(#[$word_doc])* $word),+ }

        impl $name {
            /// The word as stored.
            #[must_use]
            $visibility const fn word(self) -> &'static str {
                match self { $(Self::$word => $text),+ }
            }
        }

        impl $crate::ledger::rows::field::Field for $name {
            const KIND: $crate::ledger::rows::field::Kind =
                $crate::ledger::rows::field::Kind::Text;

            fn put(&self) -> $crate::ledger::rows::field::Value<'_> {
                $crate::ledger::rows::field::Value::Text(self.word().into())
            }

            fn get(value: $crate::ledger::rows::field::Value<'_>) -> Option<Self> {
                match value {
                    $($crate::ledger::rows::field::Value::Text(text) if text == $text => {
                        Some(Self::$word)
                    })+
                    _ => None,
                }
            }
        }
    };
}
pub(in crate::ledger) use words;
