//! Domain types to database values and back. A value that cannot be one is refused, never
//! guessed.

use tollway_core::budget::BudgetWindow;
use tollway_core::digest::Digest;
use tollway_core::id::{HoldId, KeyId};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::Buys;

use crate::ledger::KeyBytes;

/// A value in a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ledger) enum Value {
    Null,
    Int(i64),
    Bytes(Vec<u8>),
    Text(String),
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

    fn put(&self) -> Value;

    /// `None` for a value that is not one of this type.
    fn get(value: Value) -> Option<Self>;
}

/// Beyond the year 292,000,000 time stands still; amounts fit easily.
impl Field for u64 {
    const KIND: Kind = Kind::Int;

    fn put(&self) -> Value {
        Value::Int(i64::try_from(*self).unwrap_or(i64::MAX))
    }

    fn get(value: Value) -> Option<Self> {
        i64::get(value)?.try_into().ok()
    }
}

impl Field for i64 {
    const KIND: Kind = Kind::Int;

    fn put(&self) -> Value {
        Value::Int(*self)
    }

    fn get(value: Value) -> Option<Self> {
        if let Value::Int(number) = value { Some(number) } else { None }
    }
}

impl Field for String {
    const KIND: Kind = Kind::Text;

    fn put(&self) -> Value {
        Value::Text(self.clone())
    }

    fn get(value: Value) -> Option<Self> {
        if let Value::Text(text) = value { Some(text) } else { None }
    }
}

impl Field for Vec<u8> {
    const KIND: Kind = Kind::Bytes;

    fn put(&self) -> Value {
        Value::Bytes(self.clone())
    }

    fn get(value: Value) -> Option<Self> {
        if let Value::Bytes(bytes) = value { Some(bytes) } else { None }
    }
}

impl<const N: usize> Field for [u8; N] {
    const KIND: Kind = Kind::Bytes;

    fn put(&self) -> Value {
        Value::Bytes(self.to_vec())
    }

    fn get(value: Value) -> Option<Self> {
        Vec::get(value)?.try_into().ok()
    }
}

impl<T: Field> Field for Option<T> {
    const KIND: Kind = T::KIND;

    fn put(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::put)
    }

    fn get(value: Value) -> Option<Self> {
        if value == Value::Null { Some(None) } else { T::get(value).map(Some) }
    }
}

/// Fields that are stored as another type.
macro_rules! stored_as {
    ($($type:ty as $stored:ty: $put:expr, $get:expr;)+) => {$(
        impl Field for $type {
            const KIND: Kind = <$stored>::KIND;

            fn put(&self) -> Value {
                let put: fn(&Self) -> $stored = $put;
                put(self).put()
            }

            fn get(value: Value) -> Option<Self> {
                let get: fn($stored) -> Option<Self> = $get;
                get(<$stored>::get(value)?)
            }
        }
    )+};
}

stored_as! {
    u32 as i64: |number| i64::from(*number), |stored| stored.try_into().ok();
    bool as i64: |truth| i64::from(*truth), |stored| match stored {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    };
    Buys as String: |buys| match buys {
        Buys::Credit => "credit".to_owned(),
        Buys::Session => "session".to_owned(),
    }, |stored| match stored.as_str() {
        "credit" => Some(Buys::Credit),
        "session" => Some(Buys::Session),
        _ => None,
    };
    BudgetWindow as String: |window| window.to_string(), |stored| stored.parse().ok();
    Digest as [u8; 32]: |digest| *digest.as_bytes(), |bytes| Some(Digest::from_bytes(bytes));
    Msat as u64: |amount| amount.get(), Msat::new;
    KeyId as u32: |id| id.get(), |stored| Some(KeyId::new(stored));
    PaymentHash as [u8; 32]: |hash| *hash.as_bytes(), |bytes| Some(PaymentHash::from_bytes(bytes));
    HoldId as [u8; 16]: |id| *id.as_bytes(), |bytes| Some(HoldId::from_bytes(bytes));
    KeyBytes as [u8; 32]: |key| key.0, |bytes| Some(KeyBytes(bytes));
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

            fn put(&self) -> $crate::ledger::rows::field::Value {
                $crate::ledger::rows::field::Value::Text(self.word().to_owned())
            }

            fn get(value: $crate::ledger::rows::field::Value) -> Option<Self> {
                match String::get(value)?.as_str() {
                    $($text => Some(Self::$word),)+
                    _ => None,
                }
            }
        }
    };
}
pub(in crate::ledger) use words;
