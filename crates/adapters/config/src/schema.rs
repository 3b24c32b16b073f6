//! The JSON Schema of the file, made from the table of keys, for editors and other checkers.

use serde_json::{Map, Value, json};

use crate::keys::{Default, Key, Kind, Known, LEAST_SIZE, SECRET_FORMS, Scope, join, names_in};

/// The JSON Schema (2020-12) of the configuration file. Unknown keys are denied.
pub fn schema() -> Value {
    let mut top = section(Scope::Global, "");
    if let Some(properties) = top.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(
            "defaults".to_owned(),
            json!({
                "description": "any project key but `name`, merged under every project",
                "allOf": [{"$ref": "#/$defs/project"}, {"not": {"required": ["name"]}}],
            }),
        );
        properties.insert(
            "projects".to_owned(),
            json!({
                "description": "what is backed up: a list, or a mapping of names to projects",
                "anyOf": [
                    {
                        "type": "array",
                        "items": {"allOf": [{"$ref": "#/$defs/project"}, {"required": ["name"]}]},
                    },
                    {"type": "object", "additionalProperties": {"$ref": "#/$defs/project"}},
                ],
            }),
        );
    }
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!("backupctl configuration"));
    schema.extend(top);
    schema.insert("required".to_owned(), json!(["projects"]));
    schema.insert("$defs".to_owned(), json!({"project": section(Scope::Project, "")}));
    Value::Object(schema)
}

fn section(scope: Scope, path: &str) -> Map<String, Value> {
    let mut properties = Map::new();
    for (name, known) in names_in(scope, path) {
        let path = join(path, name);
        let value = match known {
            Known::Section if matches!(path.as_str(), "defaults" | "projects") => continue,
            Known::Section if path == "destinations" => destinations(scope),
            Known::Section => {
                let one = Value::Object(section(scope, &path));
                match path.as_str() {
                    "notification" => {
                        json!({"anyOf": [one, {"type": "array", "items": one}, {"const": "none"}]})
                    }
                    "monitor" => json!({"anyOf": [one, {"const": "none"}]}),
                    _ => one,
                }
            }
            Known::Key(key) => value(key, name),
        };
        properties.insert(name.clone(), value);
    }
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("additionalProperties".to_owned(), json!(false));
    if path.is_empty() {
        schema.insert("patternProperties".to_owned(), json!({"^x-": true}));
    }
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema
}

/// The schema of the list: of each entry the form with a section, and the one with a `type`.
fn destinations(scope: Scope) -> Value {
    let of = |path: &str| section(scope, path).remove("properties").unwrap_or_default();
    let own = |names: &[&str]| {
        let mut properties = of("destinations");
        if let Some(lines) = properties.as_object_mut() {
            lines.retain(|name, _| names.contains(&name.as_str()));
        }
        properties
    };
    let entry = |properties: Value, required: &str| {
        json!({
            "type": "object",
            "additionalProperties": false,
            "properties": properties,
            "required": [required],
        })
    };
    let nested = |kind| entry(own(&["name", "required", kind, "retention"]), kind);
    let flat = |kind: &str| {
        let mut properties = own(&["name", "required", "type", "retention"]);
        if let (Some(lines), Value::Object(more)) =
            (properties.as_object_mut(), of(&join("destinations", kind)))
        {
            lines.extend(more);
            lines.entry("type").and_modify(|kind_of| {
                if let Some(lines) = kind_of.as_object_mut() {
                    let only = json!([{"const": kind}, variable()]);
                    lines.insert("anyOf".to_owned(), only);
                }
            });
        }
        entry(properties, "type")
    };
    json!({
        "description": "several places that backups go to, each with the keys of a section `restic` or `archive`; those of the project hold for all of them, save where a place is",
        "type": "array",
        "minItems": 1,
        "items": {"anyOf": [nested("restic"), nested("archive"), flat("restic"), flat("archive")]},
    })
}

/// A text with a variable in it.
fn variable() -> Value {
    json!({"type": "string", "pattern": "\\$\\{"})
}

/// The schema of a key's value. Wherever something else than text is meant, text with a variable is
/// as good.
fn value(key: &Key, name: &str) -> Value {
    let variable = variable();
    let mut schema = match key.kind {
        Kind::Flag => json!({"anyOf": [{"type": "boolean"}, variable]}),
        Kind::Count(least, most) => {
            json!({"anyOf": [{"type": "integer", "minimum": least, "maximum": most}, variable]})
        }
        Kind::Size => {
            let text = json!({"type": "string", "pattern": "^ *[0-9]+ *([kKmMgGtT]([iI]?[bB])?|[bB])? *$"});
            json!({"anyOf": [{"type": "integer", "minimum": LEAST_SIZE}, text, variable]})
        }
        Kind::Amount => json!({"anyOf": [{"type": "number", "minimum": 0}, variable]}),
        Kind::Choice(words) => json!({"anyOf": [{"enum": words}, variable]}),
        Kind::List | Kind::Paths => {
            let text = json!({"type": ["string", "number", "boolean"]});
            json!({"anyOf": [text, {"type": "array", "items": text}]})
        }
        Kind::Map | Kind::Secrets => {
            json!({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}})
        }
        Kind::Ignored(_) => json!({"deprecated": true}),
        Kind::Secret | Kind::Text => json!({"type": ["string", "number", "boolean"]}),
        Kind::Span | Kind::Path | Kind::Cron | Kind::Zone | Kind::Listen | Kind::Url => {
            json!({"type": "string"})
        }
    };
    if let Some(lines) = schema.as_object_mut() {
        let description = match SECRET_FORMS.iter().find(|form| is_form(key, name, form)) {
            Some(&"_file") => format!("{}: a file whose first line it is", key.meaning),
            Some(_) => format!("{}: a shell command that prints it", key.meaning),
            None => key.meaning.to_owned(),
        };
        lines.insert("description".to_owned(), json!(description));
        if let Default::Fixed(text) = key.default {
            lines.insert("default".to_owned(), default(key.kind, text));
        }
    }
    schema
}

fn is_form(key: &Key, name: &str, form: &str) -> bool {
    key.kind == Kind::Secret && name.strip_suffix(form) == Some(key.name())
}

fn default(kind: Kind, text: &str) -> Value {
    match kind {
        Kind::Flag => json!(text == "true"),
        Kind::Count(..) | Kind::Amount => {
            text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number))
        }
        _ => json!(text),
    }
}

/// The number of keys, for tests that compare the schema with the table.
#[cfg(test)]
pub(crate) fn count_described(schema: &Value) -> usize {
    match schema {
        Value::Object(lines) => {
            usize::from(lines.contains_key("description") && !lines.contains_key("$ref"))
                + lines.values().map(count_described).sum::<usize>()
        }
        Value::Array(items) => items.iter().map(count_described).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KEYS;

    #[test]
    fn every_key_is_described_and_nothing_else_is_allowed() {
        let schema = schema();
        let project = &schema["$defs"]["project"];
        assert_eq!(project["additionalProperties"], json!(false));
        for key in KEYS {
            let start = if key.is_in(Scope::Project) { project } else { &schema };
            let described = |form: usize| {
                let found = key.path.split('.').fold(start, |at, part| {
                    let at = if at["items"].is_object() { &at["items"]["anyOf"][form] } else { at };
                    let at = if at["properties"].is_object() { at } else { &at["anyOf"][0] };
                    &at["properties"][part]
                });
                found["description"] == json!(key.meaning)
            };
            assert!((0..4).any(described), "{}", key.path);
        }
        assert!(count_described(&schema) > KEYS.len());
        let forms = &project["properties"]["destinations"]["items"]["anyOf"];
        for (form, kind, key) in [(0, "restic", "repository"), (1, "archive", "path")] {
            let nested = &forms[form]["properties"];
            assert!(nested[kind]["properties"][key].is_object() && nested["type"].is_null());
            let flat = &forms[form + 2]["properties"];
            assert_eq!(flat["type"]["anyOf"][0]["const"], json!(kind));
            assert!(flat[key].is_object() && flat["retention"]["properties"].is_object());
        }
        assert_eq!(schema["properties"]["retry"]["properties"]["count"]["default"], json!(3));
    }
}
