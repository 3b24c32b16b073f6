//! A place in a run where a script waits until the test lets it on.

use std::fs;
use std::path::PathBuf;

use super::{Running, World, command};

/// A gate that hooks and wrapped programs stop at.
pub(crate) struct Gate {
    at: PathBuf,
    go: PathBuf,
}

impl Gate {
    /// A closed gate.
    pub(crate) fn new(world: &World, name: &str) -> Self {
        let dir = world.work.dir("gates");
        let gate = Self { at: dir.join(format!("{name}.at")), go: dir.join(format!("{name}.go")) };
        assert!(command("mkfifo").arg(&gate.go).status().unwrap().success());
        gate
    }

    /// The shell commands that stop at it.
    pub(crate) fn shell(&self) -> String {
        format!("touch '{}'; read _ < '{}'", self.at.display(), self.go.display())
    }

    /// A script that stops at it where the arguments match, and goes on as the program itself.
    pub(crate) fn before(&self, program: &str, pattern: &str) -> String {
        let real = super::real(program);
        format!(
            "case \" $* \" in {pattern}) {};; esac\nexec '{}' \"$@\"",
            self.shell(),
            real.display()
        )
    }

    /// Waits until somebody stands at it.
    #[track_caller]
    pub(crate) fn wait(&self, running: &mut Running) {
        running.wait("the gate", |_| self.at.exists());
    }

    /// Lets it on.
    pub(crate) fn open(&self) {
        fs::write(&self.go, "\n").unwrap();
        fs::remove_file(&self.at).unwrap();
    }
}
