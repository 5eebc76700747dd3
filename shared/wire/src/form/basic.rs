//! Forms of numbers, texts, collections and pointers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::{Form, Json};
use crate::cbor::{Malformed, Reader, Writer};

macro_rules! unsigned {
    ($($type:ident)+) => {$(
        impl Form for $type {
            fn write(&self, out: &mut Writer) {
                out.uint(u64::from(*self));
            }

            fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
                let value = from.uint()?;
                Self::try_from(value).map_err(|_| Malformed::Range(stringify!($type)))
            }
        }

        impl Json for $type {
            fn json(&self) -> Value {
                Value::from(*self)
            }
        }
    )+};
}

unsigned!(u8 u16 u32 u64);

impl Form for i64 {
    fn write(&self, out: &mut Writer) {
        out.int(*self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.int()
    }
}

impl Form for bool {
    fn write(&self, out: &mut Writer) {
        out.bool(*self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.bool()
    }
}

impl Json for bool {
    fn json(&self) -> Value {
        Value::Bool(*self)
    }
}

impl<const N: usize> Form for [u8; N] {
    fn write(&self, out: &mut Writer) {
        out.bytes(self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.bytes()?.try_into().map_err(|_| Malformed::Range("a byte string of the right length"))
    }
}

impl Form for Box<str> {
    fn write(&self, out: &mut Writer) {
        out.text(self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.text().map(Into::into)
    }
}

impl Json for Box<str> {
    fn json(&self) -> Value {
        Value::from(&**self)
    }
}

/// A field that holds `None` is left out; anywhere else it is null.
impl<T: Form> Form for Option<T> {
    fn write(&self, out: &mut Writer) {
        match self {
            Some(value) => value.write(out),
            None => out.null(),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        if from.null() { Ok(None) } else { T::read(from).map(Some) }
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Json> Json for Option<T> {
    fn json(&self) -> Value {
        self.as_ref().map_or(Value::Null, Json::json)
    }
}

macro_rules! pointers {
    ($($pointer:ident)+) => {$(
        impl<T: Form> Form for $pointer<T> {
            fn write(&self, out: &mut Writer) {
                (**self).write(out);
            }

            fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
                T::read(from).map(Self::new)
            }
        }

        impl<T: Json> Json for $pointer<T> {
            fn json(&self) -> Value {
                (**self).json()
            }
        }
    )+};
}

pointers!(Box Arc);

impl<T: Form> Form for Vec<T> {
    fn write(&self, out: &mut Writer) {
        out.array(self.len());
        self.iter().for_each(|value| value.write(out));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        (0..from.array()?).map(|_| T::read(from)).collect()
    }
}

impl<T: Json> Json for Vec<T> {
    fn json(&self) -> Value {
        self.iter().map(Json::json).collect()
    }
}

impl<T: Form + Ord> Form for BTreeSet<T> {
    fn write(&self, out: &mut Writer) {
        out.array(self.len());
        self.iter().for_each(|value| value.write(out));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        (0..from.array()?).map(|_| T::read(from)).collect()
    }
}

impl<T: Json> Json for BTreeSet<T> {
    fn json(&self) -> Value {
        self.iter().map(Json::json).collect()
    }
}

/// By name. The order of a deterministic map is that of the encoded keys: shorter ones first.
impl<T: Form> Form for BTreeMap<Box<str>, T> {
    fn write(&self, out: &mut Writer) {
        let mut pairs: Vec<_> = self.iter().collect();
        pairs.sort_by_key(|(name, _)| (name.len(), *name));
        out.map(pairs.len());
        for (name, value) in pairs {
            out.text(name);
            value.write(out);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let pairs = from.map()?;
        let map: Self = (0..pairs)
            .map(|_| Ok((Form::read(from)?, T::read(from)?)))
            .collect::<Result<_, _>>()?;
        if map.len() == pairs { Ok(map) } else { Err(Malformed::Range("a map of distinct names")) }
    }
}

impl<T: Json> Json for BTreeMap<Box<str>, T> {
    fn json(&self) -> Value {
        self.iter().map(|(name, value)| (name.to_string(), value.json())).collect()
    }
}

impl<A: Form, B: Form> Form for (A, B) {
    fn write(&self, out: &mut Writer) {
        out.array(2);
        self.0.write(out);
        self.1.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.array()? {
            2 => Ok((A::read(from)?, B::read(from)?)),
            _ => Err(Malformed::Expected("a pair")),
        }
    }
}
