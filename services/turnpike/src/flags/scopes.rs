//! Scopes as flags.

use serde_json::{Map, Value};

use super::{given, list, some, tools};

/// What a key may touch.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Scopes (none takes one away)")]
pub(crate) struct ScopeFlags {
    /// Models, with commas between
    #[arg(long, value_name = "NAMES", value_parser = list)]
    models: Option<Value>,
    /// Providers, with commas between
    #[arg(long, value_name = "NAMES", value_parser = list)]
    providers: Option<Value>,
    /// Client addresses and ranges, such as 10.0.0.0/8,192.0.2.7
    #[arg(long, value_name = "RANGES", value_parser = list)]
    ips: Option<Value>,
    /// Whether the key may use MCP at all
    #[arg(long, value_parser = ["on", "off"])]
    mcp: Option<String>,
    /// How --mcp-servers is read
    #[arg(long, value_parser = ["allow_all", "deny_all", "allow_list", "deny_list"])]
    mcp_mode: Option<String>,
    /// The MCP servers of the two list modes, with commas between
    #[arg(long, value_name = "NAMES", value_parser = list)]
    mcp_servers: Option<Value>,
    /// The tools of one MCP server that may be called, such as search=find,read; for each server
    /// once, others have all their tools
    #[arg(long, value_name = "SERVER=TOOLS", value_parser = tools)]
    mcp_tools: Vec<(String, Value)>,
}

impl ScopeFlags {
    /// The scopes that were given; `None` if none was.
    pub(crate) fn json(self) -> Option<Value> {
        let tools: Map<String, Value> = self.mcp_tools.into_iter().collect();
        let mcp = some([
            ("enabled", self.mcp.map(|word| Value::from(word == "on"))),
            ("mode", self.mcp_mode.map(Value::from)),
            ("servers", self.mcp_servers),
            ("tools", (!tools.is_empty()).then_some(tools.into())),
        ]);
        given([
            ("models", self.models),
            ("providers", self.providers),
            ("ips", self.ips),
            ("mcp", (!mcp.is_empty()).then_some(mcp.into())),
        ])
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        scopes: ScopeFlags,
    }

    #[test]
    fn flags_of_mcp_name_only_what_was_said() {
        let json = |line: &str| Line::parse_from(line.split(' ')).scopes.json();
        assert_eq!(json("x"), None);
        assert_eq!(json("x --mcp off"), Some(json!({ "mcp": { "enabled": false } })));
        let line = "x --models a --mcp on --mcp-mode deny_list --mcp-servers b,c --mcp-tools d=e,f \
                    --mcp-tools g=none";
        let mcp = json!({
            "enabled": true, "mode": "deny_list", "servers": ["b", "c"],
            "tools": { "d": ["e", "f"], "g": null },
        });
        assert_eq!(json(line), Some(json!({ "models": ["a"], "mcp": mcp })));
    }
}
