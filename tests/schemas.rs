//! The forms of events and messages, held to what was ever written.

#[cfg(test)]
#[path = "schemas/endpoints.rs"]
mod endpoints;
#[cfg(test)]
#[path = "schemas/ephemeral.rs"]
mod ephemeral;
#[cfg(test)]
#[path = "schemas/goldens.rs"]
mod goldens;
#[cfg(test)]
#[path = "schemas/messages.rs"]
mod messages;
#[cfg(test)]
#[path = "schemas/rates.rs"]
mod rates;
#[cfg(test)]
#[path = "schemas/samples.rs"]
mod samples;
