//! Plans: pricing groups, made by the operator.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::input::shape;
use super::text::{Factor, PlanRef};

shape! {
    /// What a plan is to be.
    PlanForm {
        /// 1 to 100 characters, unique.
        name: String,
        /// The models of the plan, by name; absent or null: all.
        models: Option<Vec<String>>,
        /// The factor on every price; absent: "1.00".
        multiplier: Option<Factor>,
    }
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// Its id.
    pub id: PlanRef,
    /// Its name.
    pub name: String,
    /// The models of the plan; null: all.
    pub models: Option<Vec<String>>,
    /// The factor on every price.
    pub multiplier: Factor,
}
