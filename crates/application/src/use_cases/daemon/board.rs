//! Which runs go on and which wait: one a project goes on, one more waits, and further ones are folded
//! into that; so many projects at once, the others in the order in which they asked.

use std::collections::{HashMap, HashSet, VecDeque};

use backupctl_domain::{ProjectName, Trigger};
use jiff::Timestamp;

use super::control::Reply;

/// A run that somebody asks for.
#[derive(Debug)]
pub(super) struct Ask {
    pub trigger: Trigger,
    /// The slot that it is for.
    pub due_at: Option<Timestamp>,
    /// Whether somebody has asked for it, whatever the schedule wants.
    pub by_hand: bool,
    /// Who wants to know what comes of it.
    pub reply: Option<Reply>,
}

impl Ask {
    /// One of the schedule.
    pub(super) fn slot(trigger: Trigger, slot: Timestamp) -> Self {
        Self { trigger, due_at: Some(slot), by_hand: false, reply: None }
    }

    /// One that somebody asks for.
    pub(super) fn by_hand(reply: Option<Reply>) -> Self {
        Self { trigger: Trigger::Manual, due_at: None, by_hand: true, reply }
    }

    /// What is left of it when the schedule wants no run any more.
    pub(super) fn without_slot(self) -> Option<Self> {
        self.by_hand.then(|| Self::by_hand(self.reply))
    }
}

/// What came of asking.
#[derive(Debug)]
pub(super) enum Placed {
    /// It is in the queue.
    Waits,
    /// A run of the project waits already and stands for this one too.
    Folded {
        /// Who asked in vain.
        reply: Option<Reply>,
    },
}

/// The runs that go on and those that wait.
#[derive(Debug)]
pub(super) struct Board {
    concurrency: usize,
    running: HashSet<ProjectName>,
    waiting: HashMap<ProjectName, Ask>,
    queue: VecDeque<ProjectName>,
}

impl Board {
    /// Nothing goes on; at most so many projects will at once.
    pub(super) fn new(concurrency: u32) -> Self {
        let mut board = Self {
            concurrency: 1,
            running: HashSet::new(),
            waiting: HashMap::new(),
            queue: VecDeque::new(),
        };
        board.set_concurrency(concurrency);
        board
    }

    /// From now on so many projects at once; those that go on do so.
    pub(super) fn set_concurrency(&mut self, concurrency: u32) {
        self.concurrency = usize::try_from(concurrency).unwrap_or(usize::MAX).max(1);
    }

    /// Whether a run of the project goes on or waits.
    pub(super) fn is_busy(&self, project: &ProjectName) -> bool {
        self.running.contains(project) || self.waiting.contains_key(project)
    }

    /// How many runs go on.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// How many wait.
    pub(super) fn queued(&self) -> usize {
        self.waiting.len()
    }

    /// Asks for a run. Of several slots the newest is what the waiting run is for: it stands for those
    /// before it, and none of them is dealt with until it has begun.
    pub(super) fn ask(&mut self, project: &ProjectName, ask: Ask) -> Placed {
        let Some(waiting) = self.waiting.get_mut(project) else {
            self.queue.push_back(project.clone());
            self.waiting.insert(project.clone(), ask);
            return Placed::Waits;
        };
        if ask.due_at.is_some() && ask.due_at > waiting.due_at {
            waiting.trigger = ask.trigger;
            waiting.due_at = ask.due_at;
        }
        waiting.by_hand |= ask.by_hand;
        Placed::Folded { reply: ask.reply }
    }

    /// The next run that may begin; it goes on from now on.
    pub(super) fn next(&mut self) -> Option<(ProjectName, Ask)> {
        if self.running.len() >= self.concurrency {
            return None;
        }
        let place = self.queue.iter().position(|project| !self.running.contains(project))?;
        let project = self.queue.remove(place)?;
        let ask = self.waiting.remove(&project)?;
        self.running.insert(project.clone());
        Some((project, ask))
    }

    /// The run of the project has ended.
    pub(super) fn ended(&mut self, project: &ProjectName) {
        self.running.remove(project);
    }

    /// Who asked for the project's run, if it still waits.
    pub(super) fn take_reply(&mut self, project: &ProjectName) -> Option<Reply> {
        self.waiting.get_mut(project)?.reply.take()
    }

    /// The project's schedule wants no run any more: one that waits is left only if somebody has asked
    /// for it.
    pub(super) fn let_go(&mut self, project: &ProjectName) {
        match self.waiting.remove(project).and_then(Ask::without_slot) {
            Some(ask) => {
                self.waiting.insert(project.clone(), ask);
            }
            None => self.queue.retain(|other| other != project),
        }
    }

    /// Takes the project's waiting run away.
    pub(super) fn withdraw(&mut self, project: &ProjectName) -> Option<Ask> {
        self.queue.retain(|other| other != project);
        self.waiting.remove(project)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ProjectName {
        ProjectName::new(text).unwrap()
    }

    fn slot(seconds: i64) -> Ask {
        Ask::slot(Trigger::Scheduled, Timestamp::from_second(seconds).unwrap())
    }

    fn begun(board: &mut Board) -> Vec<String> {
        std::iter::from_fn(|| board.next()).map(|(project, _)| project.to_string()).collect()
    }

    #[test]
    fn projects_take_turns_in_the_order_of_asking() {
        let mut board = Board::new(2);
        for project in ["a", "b", "c", "d"] {
            assert!(matches!(board.ask(&name(project), slot(1)), Placed::Waits));
        }
        assert_eq!(begun(&mut board), ["a", "b"]);
        board.ask(&name("b"), slot(2));
        board.ended(&name("a"));
        assert_eq!(begun(&mut board), ["c"]);
        // The second run of b waits for its first, and keeps nobody else from going on.
        board.ended(&name("c"));
        assert_eq!(begun(&mut board), ["d"]);
        board.ended(&name("b"));
        assert_eq!(begun(&mut board), ["b"]);
        assert_eq!((board.running(), board.queued()), (2, 0));
        board.set_concurrency(0);
        assert_eq!(Board::new(0).concurrency, 1);
    }

    #[test]
    fn one_waits_and_stands_for_all_that_come_after_it() {
        let mut board = Board::new(1);
        board.ask(&name("a"), slot(1));
        assert_eq!(begun(&mut board), ["a"]);
        assert!(matches!(board.ask(&name("a"), Ask::by_hand(None)), Placed::Waits));
        assert!(matches!(board.ask(&name("a"), slot(60)), Placed::Folded { .. }));
        assert!(matches!(board.ask(&name("a"), slot(120)), Placed::Folded { .. }));
        assert!(matches!(board.ask(&name("a"), Ask::by_hand(None)), Placed::Folded { .. }));
        assert!(board.is_busy(&name("a")));
        board.ended(&name("a"));
        let (_, ask) = board.next().unwrap();
        assert_eq!(ask.trigger, Trigger::Scheduled);
        assert_eq!(ask.due_at, Timestamp::from_second(120).ok());
        board.ask(&name("b"), slot(180));
        assert!(board.withdraw(&name("b")).is_some() && !board.is_busy(&name("b")));
        board.ended(&name("a"));
        assert!(board.next().is_none());
    }

    #[test]
    fn of_what_waits_for_a_schedule_that_is_off_only_what_somebody_asked_for_is_left() {
        let mut board = Board::new(1);
        board.ask(&name("a"), slot(1));
        board.ask(&name("b"), Ask::by_hand(None));
        board.ask(&name("b"), slot(1));
        board.let_go(&name("a"));
        board.let_go(&name("b"));
        let (project, ask) = board.next().unwrap();
        assert_eq!((project, ask.trigger, ask.due_at), (name("b"), Trigger::Manual, None));
        board.ended(&name("b"));
        assert!(board.next().is_none());
    }
}
