//! Short texts of people: names and the limits that they keep.

/// The most characters of a name.
pub const MAX_NAME_CHARS: usize = 100;
/// The most bytes of a key's metadata, as JSON: it is echoed in every record of the request log.
pub const MAX_METADATA_BYTES: usize = 4_096;
/// The most characters of a note beside a top-up: an invoice number and a sentence.
pub const MAX_NOTE_CHARS: usize = 500;
/// The most characters of a tool's name (MCP 2025-11-25, "Tool Names").
pub const MAX_TOOL_CHARS: usize = 128;
/// The most entries of one allow-list: it is walked on the request path.
pub const MAX_LIST_ENTRIES: usize = 1_000;

/// Says what is wrong with a name, if anything is.
#[must_use]
pub fn name_problem(name: &str) -> Option<&'static str> {
    let chars = name.chars().count();
    if chars == 0 || name.trim().is_empty() {
        Some("must not be empty")
    } else if chars > MAX_NAME_CHARS {
        Some("must have at most 100 characters")
    } else if name.trim() != name {
        Some("must not begin or end with white space")
    } else if name.chars().any(char::is_control) {
        Some("must not contain control characters")
    } else {
        None
    }
}

/// Says what is wrong with a slug (the short name of a provider, model or MCP server that appears
/// in scopes, paths and logs), if anything is.
#[must_use]
pub fn slug_problem(slug: &str) -> Option<&'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/@".contains(&byte);
    if slug.is_empty() {
        Some("must not be empty")
    } else if slug.len() > MAX_NAME_CHARS {
        Some("must have at most 100 characters")
    } else if !slug.bytes().all(allowed) {
        Some("may contain only ASCII letters, digits and - _ . : / @")
    } else {
        None
    }
}

/// Says what is wrong with the name of an MCP server, if anything is: it is one segment of a path.
#[must_use]
pub fn path_name_problem(name: &str) -> Option<&'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() {
        Some("must not be empty")
    } else if name.len() > MAX_NAME_CHARS {
        Some("must have at most 100 characters")
    } else if !name.bytes().all(allowed) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Some("may contain only ASCII letters, digits and - _ . and begins with none of the three")
    } else {
        None
    }
}

/// Says what is wrong with the name of an MCP tool, if anything is.
#[must_use]
pub fn tool_name_problem(tool: &str) -> Option<&'static str> {
    let sound =
        (1..=MAX_TOOL_CHARS).contains(&tool.chars().count()) && !tool.chars().any(char::is_control);
    (!sound).then_some("must be a tool's name of 1 to 128 characters")
}

/// Says what is wrong with an e-mail address, if it cannot be one. Whether it can be reached shows
/// when the invitation is answered.
#[must_use]
pub fn email_problem(email: &str) -> Option<&'static str> {
    // RFC 5321 §4.5.3.1.3: a path has at most 256 characters, two of them its brackets.
    const MAX_EMAIL_BYTES: usize = 254;
    let dotted = |host: &str| {
        host == "localhost" || (host.contains('.') && host.split('.').all(|part| !part.is_empty()))
    };
    let shape = email
        .split_once('@')
        .is_some_and(|(user, host)| !user.is_empty() && !host.contains('@') && dotted(host));
    let plain = !email.chars().any(|c| c.is_whitespace() || c.is_control());
    let sound = email.len() <= MAX_EMAIL_BYTES && plain && shape;
    (!sound).then_some("must be an e-mail address")
}
