//! A queue whose entries can be removed at any position, in constant time.

use slab::Slab;

/// A first-in, first-out queue. A popped entry keeps its key until it is removed.
pub(crate) struct Queue<V> {
    entries: Slab<Entry<V>>,
    /// The keys of the first and the last queued entry.
    ends: Option<(usize, usize)>,
    queued: usize,
}

struct Entry<V> {
    value: V,
    /// The neighbours; `None` once the entry was popped.
    links: Option<Links>,
}

#[derive(Clone, Copy)]
struct Links {
    previous: Option<usize>,
    next: Option<usize>,
}

/// The most capacity that an empty queue keeps; a larger one is freed.
const KEPT: usize = 64;

impl<V> Queue<V> {
    pub(crate) fn new() -> Self {
        Self {
            entries: Slab::new(),
            ends: None,
            queued: 0,
        }
    }

    /// The number of queued entries.
    pub(crate) fn len(&self) -> usize {
        self.queued
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_none()
    }

    /// Adds a value at the end. The key stays valid until [`remove`](Self::remove).
    pub(crate) fn push_back(&mut self, value: V) -> usize {
        let last = self.ends.map(|(_, last)| last);
        let links = Links {
            previous: last,
            next: None,
        };
        let key = self.entries.insert(Entry {
            value,
            links: Some(links),
        });
        if let Some(last) = last {
            self.links_of(last, |links| links.next = Some(key));
        }
        let first = self.ends.map_or(key, |(first, _)| first);
        self.ends = Some((first, key));
        self.queued += 1;
        key
    }

    /// The first queued value.
    pub(crate) fn front(&self) -> Option<&V> {
        let (first, _) = self.ends?;
        self.entries.get(first).map(|entry| &entry.value)
    }

    /// Removes the first value from the order. Its entry stays until [`remove`](Self::remove).
    pub(crate) fn pop_front(&mut self) -> Option<&mut V> {
        let (first, _) = self.ends?;
        self.unlink(first);
        self.get_mut(first)
    }

    /// The value of this key, queued or popped.
    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut V> {
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    /// Removes the entry of this key, queued or popped.
    pub(crate) fn remove(&mut self, key: usize) -> Option<V> {
        self.unlink(key);
        let entry = self.entries.try_remove(key)?;
        if self.entries.is_empty() && self.entries.capacity() > KEPT {
            self.entries = Slab::new();
        }
        Some(entry.value)
    }

    /// Removes every value from the order, and lists all entries, including those popped before.
    pub(crate) fn pop_all(&mut self) -> impl Iterator<Item = &mut V> {
        self.ends = None;
        self.queued = 0;
        self.entries.iter_mut().map(|(_, entry)| {
            entry.links = None;
            &mut entry.value
        })
    }

    fn unlink(&mut self, key: usize) {
        let Some(links) = self
            .entries
            .get_mut(key)
            .and_then(|entry| entry.links.take())
        else {
            return;
        };
        let Links { previous, next } = links;
        if let Some(previous) = previous {
            self.links_of(previous, |links| links.next = next);
        }
        if let Some(next) = next {
            self.links_of(next, |links| links.previous = previous);
        }
        self.ends = self.ends.and_then(|(first, last)| {
            let first = if first == key { next } else { Some(first) };
            let last = if last == key { previous } else { Some(last) };
            first.zip(last)
        });
        self.queued -= 1;
    }

    fn links_of(&mut self, key: usize, change: impl FnOnce(&mut Links)) {
        if let Some(links) = self
            .entries
            .get_mut(key)
            .and_then(|entry| entry.links.as_mut())
        {
            change(links);
        }
    }
}
