//! The document says all that there is, and nothing else.

use std::collections::BTreeSet;
use std::path::Path;

use backupctl_adapter_http::openapi;
use serde_json::Value;

use crate::Server;

#[tokio::test]
async fn it_is_served_and_its_copy_is_in_step() {
    let server = Server::start().await;
    assert_eq!(server.read("/openapi.json").await, openapi());
    server.end().await;

    let copy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/reference/openapi.json");
    let copy = std::fs::read_to_string(copy).unwrap_or_default();
    assert!(
        copy == format!("{:#}\n", openapi()),
        "docs/reference/openapi.json is not what the program says: run `cargo xtask docs`"
    );
}

#[test]
fn every_operation_is_told_whole() {
    let document = openapi();
    let mut ids = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let what = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{what}");
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{what}");
            let statuses: Vec<&str> =
                operation["responses"].as_object().unwrap().keys().map(String::as_str).collect();
            assert!(statuses.iter().any(|s| s.starts_with('2')), "{what}: {statuses:?}");
            let open = operation["security"].as_array().is_some_and(Vec::is_empty);
            assert_eq!(statuses.contains(&"401"), !open, "{what}");
            let named = path.matches('{').count();
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            assert_eq!(parameters.filter(|p| p["in"] == "path").count(), named, "{what}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere_and_everything_is_referred_to() {
    let document = openapi();
    let mut used = BTreeSet::new();
    references(&document, &mut used);
    for reference in &used {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
    }
    for kind in ["schemas", "responses"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            let reference = format!("#/components/{kind}/{name}");
            assert!(used.contains(&reference), "{reference} is not used");
        }
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(keys) => {
            found.extend(keys.get("$ref").and_then(Value::as_str).map(str::to_owned));
            keys.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}
