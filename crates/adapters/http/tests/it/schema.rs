//! Holds answers to the document: strictly, so that a key that the document lacks is found.

use serde_json::Value;

/// That `value` has the form that `schema` says, every key of it known. `document` resolves references.
#[track_caller]
pub(crate) fn assert_conforms(document: &Value, schema: &Value, value: &Value) {
    let mut wrong = Vec::new();
    check(document, schema, value, "$", &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?} in {value:#}");
}

fn check(document: &Value, schema: &Value, value: &Value, place: &str, wrong: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').unwrap();
        let Some(target) = document.pointer(pointer) else {
            wrong.push(format!("{place}: {reference} leads nowhere"));
            return;
        };
        return check(document, target, value, place, wrong);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let fits = choices.iter().any(|choice| {
            let mut own = Vec::new();
            check(document, choice, value, place, &mut own);
            own.is_empty()
        });
        if !fits {
            wrong.push(format!("{place}: {value} is none of {choices:?}"));
        }
        return;
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        kind => kind.as_str().into_iter().collect(),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_u64() || n.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = kinds.contains(&kind) || (kind == "integer" && kinds.contains(&"number"));
    if !fits {
        wrong.push(format!("{place}: {kind} is none of {kinds:?}"));
        return;
    }
    if value.is_null() {
        return;
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        wrong.push(format!("{place}: {value} is none of {words:?}"));
    }
    if schema["format"] == "date-time" {
        let text = value.as_str().unwrap_or_default();
        let is_moment = text.parse::<jiff::Timestamp>().is_ok() && text.ends_with('Z');
        if !is_moment {
            wrong.push(format!("{place}: {text:?} is no moment"));
        }
    }
    if let Some(minimum) = schema["minimum"].as_f64()
        && value.as_f64().is_none_or(|n| n < minimum)
    {
        wrong.push(format!("{place}: {value} is less than {minimum}"));
    }
    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
        check(document, &schema["items"], item, &format!("{place}[{i}]"), wrong);
    }
    let (Some(keys), Some(known)) = (value.as_object(), schema["properties"].as_object()) else {
        return;
    };
    for (key, item) in keys {
        let place = format!("{place}.{key}");
        match known.get(key) {
            Some(schema) => check(document, schema, item, &place, wrong),
            None => wrong.push(format!("{place} is not in the document")),
        }
    }
    for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !keys.contains_key(key) {
            wrong.push(format!("{place}.{key} is missing"));
        }
    }
}
