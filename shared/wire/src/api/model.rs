//! Models: what they cost and where they are served.

use serde::{Deserialize, Serialize};
use turnpike_domain::meter::Prices;
use turnpike_domain::money::{NanoUsd, Price};
use utoipa::ToSchema;

use super::input::shape;
use super::text::{PriceText, Text, Usd};

shape! {
    /// What a model is to be.
    ModelForm {
        /// Its name, as callers write it: letters, digits and - _ . : / @.
        name: String,
        /// The most tokens of input and output together.
        context_window: u64,
        /// The most tokens of output.
        max_output: u64,
        /// What its tokens cost; absent: unpriced, so refused where a USD cap stands.
        prices: Option<PricesForm>,
        /// Where it is served, in order of preference; absent: nowhere yet.
        routes: Option<Vec<RouteForm>>,
    }
}

shape! {
    /// Prices in USD per million tokens. A kind that is absent costs what its direction costs.
    PricesForm {
        /// Input.
        input: PriceText,
        /// Output.
        output: PriceText,
        /// Input read from the provider's cache.
        cached_input: Option<PriceText>,
        /// Input written to the provider's cache.
        cache_write: Option<PriceText>,
        /// Output spent on reasoning.
        reasoning: Option<PriceText>,
        /// Audio of the input.
        audio_input: Option<PriceText>,
        /// Audio of the output.
        audio_output: Option<PriceText>,
        /// Images of the input.
        image_input: Option<PriceText>,
        /// Images of the output.
        image_output: Option<PriceText>,
        /// USD once per request; absent: "0.00".
        request_fee: Option<Usd>,
        /// USD per second of a recording, of providers that tell seconds instead of tokens;
        /// absent: what they tell is no figure, and the reservation is booked.
        audio_second: Option<Usd>,
    }
}

shape! {
    /// One way to a model.
    RouteForm {
        /// The provider's short name.
        provider: String,
        /// The model's name at that provider; absent: the same.
        upstream_model: Option<String>,
        /// Share among neighbours of the same preference; 0: only when those before it fail;
        /// absent: 1.
        weight: Option<u32>,
        /// What the model costs there; absent: what the model costs.
        prices: Option<PricesForm>,
    }
}

/// A model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// The most tokens of input and output together.
    pub context_window: u64,
    /// The most tokens of output.
    pub max_output: u64,
    /// What its tokens cost; null: unpriced.
    pub prices: Option<PricesForm>,
    /// Where it is served; shown to operators.
    pub routes: Option<Vec<RouteForm>>,
    /// The version of its price; spend records name it.
    pub price_version: u64,
}

impl From<&PricesForm> for Prices {
    fn from(form: &PricesForm) -> Self {
        let price = |text: Option<PriceText>| text.map(|text| text.0);
        Self {
            input: form.input.0,
            output: form.output.0,
            cached_input: price(form.cached_input),
            cache_write: price(form.cache_write),
            reasoning: price(form.reasoning),
            audio_input: price(form.audio_input),
            audio_output: price(form.audio_output),
            image_input: price(form.image_input),
            image_output: price(form.image_output),
            request_fee: form.request_fee.map_or(NanoUsd::ZERO, |fee| fee.0),
            audio_second: form.audio_second.map(|price| price.0),
        }
    }
}

impl From<&Prices> for PricesForm {
    fn from(prices: &Prices) -> Self {
        let text = |price: Option<Price>| price.map(Text);
        Self {
            input: Text(prices.input),
            output: Text(prices.output),
            cached_input: text(prices.cached_input),
            cache_write: text(prices.cache_write),
            reasoning: text(prices.reasoning),
            audio_input: text(prices.audio_input),
            audio_output: text(prices.audio_output),
            image_input: text(prices.image_input),
            image_output: text(prices.image_output),
            request_fee: Some(Text(prices.request_fee)),
            audio_second: prices.audio_second.map(Text),
        }
    }
}
