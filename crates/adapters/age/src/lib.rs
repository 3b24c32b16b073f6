//! Encrypts and decrypts dumps with age, in-process.
