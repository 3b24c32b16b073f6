//! Prints the document of the HTTP interface, of which docs/reference/openapi.json is a copy.
#![expect(clippy::print_stdout, reason = "printing is all that it does")]

fn main() {
    println!("{:#}", backupctl_adapter_http::openapi());
}
