//! Tables of forms: one line a field gives the writer, the reader and the JSON of a type.

/// The form of a struct: `Type { 1 field "name", 2 other [default] "other" }`.
///
/// The number stands for the field in CBOR, the name in JSON; without names there is no JSON form.
/// A field marked `[default]` is left out when it equals its type's default. Numbers ascend.
#[macro_export]
macro_rules! form {
    ($type:ident { $($number:literal $field:ident $([$mark:ident])? $name:literal),+ $(,)? }) => {
        $crate::form!($type { $($number $field $([$mark])?),+ });

        impl $crate::form::Json for $type {
            fn json(&self) -> ::serde_json::Value {
                let mut map = ::serde_json::Map::new();
                $(map.insert($name.to_owned(), $crate::form::Json::json(&self.$field));)+
                ::serde_json::Value::Object(map)
            }
        }
    };
    ($type:ident { $($number:literal $field:ident $([$mark:ident])?),+ $(,)? }) => {
        impl $crate::form::Form for $type {
            fn write(&self, out: &mut $crate::cbor::Writer) {
                $crate::write_fields!(out, $($number (&self.$field) $([$mark])?),+);
            }

            fn read(
                from: &mut $crate::cbor::Reader<'_>,
            ) -> Result<Self, $crate::cbor::Malformed> {
                $crate::read_fields!(from, stringify!($type), $($number $field $([$mark])?),+);
                Ok(Self { $($field),+ })
            }
        }
    };
}

/// Writes fields as a map: `write_fields!(out, 1 (&value), 2 (&other) [default])`.
#[doc(hidden)]
#[macro_export]
macro_rules! write_fields {
    ($out:ident, $($number:literal ($value:expr) $([$mark:ident])?),+) => {
        let absent = [$($crate::write_fields!(@absent $value $(, $mark)?)),+];
        $out.map(absent.iter().filter(|absent| !**absent).count());
        let mut absent = absent.into_iter();
        $(if absent.next() == Some(false) {
            $out.uint($number);
            $crate::form::Form::write($value, $out);
        })+
    };
    (@absent $value:expr) => { $crate::form::Form::is_absent($value) };
    (@absent $value:expr, default) => { $crate::form::is_default($value) };
}

/// Reads a map into variables of the fields' names, or returns the error.
#[doc(hidden)]
#[macro_export]
macro_rules! read_fields {
    ($from:ident, $form:expr, $($number:literal $field:ident $([$mark:ident])?),+) => {
        $(let mut $field = None;)+
        $from.fields(|number, from| {
            match number {
                $($number => $field = Some($crate::form::Form::read(from)?),)+
                _ => from.skip()?,
            }
            Ok(())
        })?;
        $(let $field = $crate::read_fields!(@value $field, $form, $number $(, $mark)?);)+
    };
    (@value $field:ident, $form:expr, $number:literal) => {
        $crate::form::field($field, $form, $number)?
    };
    (@value $field:ident, $form:expr, $number:literal, default) => { $field.unwrap_or_default() };
}

/// The form of an enum without fields: `Type "noun" { 1 Case "name", 2 Other "other" }`; the number
/// in CBOR, the name in JSON.
#[macro_export]
macro_rules! names {
    ($type:ident $noun:literal { $($number:literal $case:ident $name:literal),+ $(,)? }) => {
        impl $crate::form::Form for $type {
            fn write(&self, out: &mut $crate::cbor::Writer) {
                out.uint(match self { $(Self::$case => $number),+ });
            }

            fn read(
                from: &mut $crate::cbor::Reader<'_>,
            ) -> Result<Self, $crate::cbor::Malformed> {
                match from.uint()? {
                    $($number => Ok(Self::$case),)+
                    number => Err($crate::cbor::Malformed::Unknown { form: $noun, number }),
                }
            }
        }

        impl $crate::form::Named for $type {
            const NOUN: &'static str = $noun;
            const NAMES: &'static [&'static str] = &[$($name),+];

            fn name(self) -> &'static str {
                match self { $(Self::$case => $name),+ }
            }

            fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$case),)+
                    _ => None,
                }
            }
        }

        impl $crate::form::Json for $type {
            fn json(&self) -> ::serde_json::Value {
                ::serde_json::Value::from($crate::form::Named::name(*self))
            }
        }
    };
}

/// The form of an enum whose cases hold one value or none: `Type "noun" { 1 Case "name", 2
/// Other(value) }`. In CBOR an array of the number and the value; in JSON the name, or the value
/// alone, which must tell what it is (as an id does).
#[macro_export]
macro_rules! cases {
    ($type:ident $noun:literal {
        $($number:literal $case:ident $(($value:ident))? $($name:literal)?),+ $(,)?
    }) => {
        impl $crate::form::Form for $type {
            fn write(&self, out: &mut $crate::cbor::Writer) {
                match self {
                    $(Self::$case $(($value))? => {
                        out.array($crate::cases!(@len $($value)?));
                        out.uint($number);
                        $($crate::form::Form::write($value, out);)?
                    })+
                }
            }

            fn read(
                from: &mut $crate::cbor::Reader<'_>,
            ) -> Result<Self, $crate::cbor::Malformed> {
                let len = from.array()?;
                match (from.uint()?, len) {
                    $(($number, $crate::cases!(@len $($value)?)) => {
                        $(let $value = $crate::form::Form::read(from)?;)?
                        Ok(Self::$case $(($value))?)
                    })+
                    (number, _) => {
                        Err($crate::cbor::Malformed::Unknown { form: $noun, number })
                    }
                }
            }
        }

        impl $crate::form::Json for $type {
            fn json(&self) -> ::serde_json::Value {
                match self {
                    $(Self::$case $(($value))? => $crate::cases!(@json $($value)? $($name)?)),+
                }
            }
        }
    };
    (@len) => { 1 };
    (@len $value:ident) => { 2 };
    (@json $value:ident) => { $crate::form::Json::json($value) };
    (@json $name:literal) => { ::serde_json::Value::from($name) };
}
