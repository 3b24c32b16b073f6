//! Fakes for every port, contract suites, and real services for tests.
