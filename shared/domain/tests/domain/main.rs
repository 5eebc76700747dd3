//! The rules of the domain as tables (given, when, then), and its laws as properties.

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod house;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod rules;
