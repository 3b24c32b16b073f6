//! The document of the interface (`OpenAPI` 3.1), made from the table of operations.
//!
//! What is answered is the domain's own JSON, so its form is written down in [`schemas`] rather than
//! derived: the tests hold every answer to it.

mod schemas;

use axum::http::Method;
use serde_json::{Map, Value, json};

use crate::api::operations;

/// What each failure's status means.
const FAILURES: [(u16, &str); 9] = [
    (400, "The request cannot be understood; the message says what of it."),
    (401, "No token was sent, or another than `http.token`; or none is configured."),
    (404, "Nothing has this name or id (`UNKNOWN_PROJECT`)."),
    (408, "The request's body did not come in time."),
    (
        409,
        "The project cannot be backed up now: another run has its lock, or its configuration has errors.",
    ),
    (413, "The request's body is too large."),
    (415, "The request's body is not said to be JSON."),
    (429, "Too many event streams are open."),
    (503, "The audit database or the configuration is out of order, or the daemon is ending."),
];

/// The document of the HTTP interface. `docs/reference/openapi.json` is a copy of it.
pub fn openapi() -> Value {
    let mut paths = Map::new();
    for operation in operations() {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[method(&operation.method)] = operation.doc;
    }
    let responses: Map<String, Value> = FAILURES
        .into_iter()
        .map(|(status, meaning)| {
            (failure_name(status), response(meaning, "application/json", schema_of("Error")))
        })
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "backupctl",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "How backups stand, and what can be done about it: the HTTP interface of \
                            `backupctl serve`. Keys are added within a major version, not renamed or \
                            removed. Moments are RFC 3339 in UTC, sizes bytes, durations seconds.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:3100", "description": "`http.listen`"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "`http.token`"},
            },
            "responses": responses,
            "schemas": schemas::all(),
        },
    })
}

fn method(method: &Method) -> String {
    method.as_str().to_ascii_lowercase()
}

fn failure_name(status: u16) -> String {
    format!("Failure{status}")
}

fn response(description: &str, kind: &str, schema: Value) -> Value {
    let mut response = json!({"description": description});
    response["content"][kind]["schema"] = schema;
    response
}

/// A reference to a schema of the document.
pub(crate) fn schema_of(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// An object with one key, which lists objects of that schema.
pub(crate) fn list_of(key: &str, name: &str) -> Value {
    schemas::object([(key, json!({"type": "array", "items": schema_of(name)}))])
}

/// Begins the document of an operation.
pub(crate) fn doc(id: &str, summary: &str) -> Doc {
    Doc {
        operation: json!({"operationId": id, "summary": summary}),
        parameters: Vec::new(),
        responses: Map::new(),
        is_open: false,
    }
}

/// The document of one operation in the making.
pub(crate) struct Doc {
    operation: Value,
    parameters: Vec<Value>,
    responses: Map<String, Value>,
    is_open: bool,
}

impl Doc {
    /// What more there is to say.
    pub(crate) fn about(mut self, description: &str) -> Self {
        self.operation["description"] = json!(description);
        self
    }

    /// It asks for no token.
    pub(crate) fn open(mut self) -> Self {
        self.is_open = true;
        self
    }

    /// It has a project in its address.
    pub(crate) fn project(self) -> Self {
        self.path("project", "The project's name as configured.", json!({"type": "string"}))
    }

    /// It has this in its address.
    pub(crate) fn path(self, name: &str, description: &str, schema: Value) -> Self {
        self.parameter("path", name, description, schema)
    }

    /// It can be given this behind the address.
    pub(crate) fn query(self, name: &str, description: &str, schema: Value) -> Self {
        self.parameter("query", name, description, schema)
    }

    fn parameter(mut self, place: &str, name: &str, description: &str, schema: Value) -> Self {
        let mut parameter = json!({
            "name": name,
            "in": place,
            "required": place == "path",
            "description": description,
        });
        parameter["schema"] = schema;
        self.parameters.push(parameter);
        self
    }

    /// It can be sent a JSON document.
    pub(crate) fn body(mut self, schema: Value) -> Self {
        self.operation["requestBody"]["required"] = json!(false);
        self.operation["requestBody"]["content"]["application/json"]["schema"] = schema;
        self
    }

    /// It answers with JSON.
    pub(crate) fn answers(self, status: u16, description: &str, schema: Value) -> Self {
        self.answers_as(status, description, "application/json", schema)
    }

    /// It answers with something of that type.
    pub(crate) fn answers_as(
        mut self,
        status: u16,
        description: &str,
        kind: &str,
        schema: Value,
    ) -> Self {
        self.responses.insert(status.to_string(), response(description, kind, schema));
        self
    }

    /// It can fail so, with the document of errors.
    pub(crate) fn fails(mut self, statuses: &[u16]) -> Self {
        for status in statuses {
            let name = failure_name(*status);
            let response = json!({"$ref": format!("#/components/responses/{name}")});
            self.responses.insert(status.to_string(), response);
        }
        self
    }

    /// The document.
    pub(crate) fn build(self) -> Value {
        let this = if self.is_open { self } else { self.fails(&[401]) };
        let Self { mut operation, parameters, responses, is_open } = this;
        if is_open {
            operation["security"] = json!([]);
        }
        if !parameters.is_empty() {
            operation["parameters"] = json!(parameters);
        }
        let mut responses: Vec<(String, Value)> = responses.into_iter().collect();
        responses.sort_by(|(a, _), (b, _)| a.cmp(b));
        operation["responses"] = responses.into_iter().collect::<Map<_, _>>().into();
        operation
    }
}
