//! One file of tables a noun.

mod admit;
mod budget;
mod ephemeral;
mod evolve;
mod gateway;
mod key;
mod ledger;
mod legacy;
mod mcp;
mod member;
mod organisation;
mod platform;
mod project;
mod provider;
mod rate;
mod settle;
mod text;
mod token;
mod wallet;
