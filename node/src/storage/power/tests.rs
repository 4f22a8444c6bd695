//! The real disk loses what the disk in memory loses, whatever was done to it before.

use proptest::prelude::*;

use super::*;
use crate::storage::MemoryDisk;

/// Something done to a disk with a few files.
#[derive(Clone, Debug)]
enum Act {
    Write {
        file: u8,
        offset: u16,
        len: u16,
        byte: u8,
    },
    SetLen {
        file: u8,
        len: u16,
    },
    Sync {
        file: u8,
    },
    Rename {
        from: u8,
        to: u8,
    },
    Remove {
        file: u8,
    },
    SyncDir,
    /// The process crashes and starts again.
    Crash,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let file = 0..4u8;
    let act = prop_oneof![
        4 => (file.clone(), 0..3000u16, 1..2000u16, any::<u8>())
            .prop_map(|(file, offset, len, byte)| Act::Write { file, offset, len, byte }),
        1 => (file.clone(), 0..4000u16).prop_map(|(file, len)| Act::SetLen { file, len }),
        2 => file.clone().prop_map(|file| Act::Sync { file }),
        1 => (file.clone(), file.clone()).prop_map(|(from, to)| Act::Rename { from, to }),
        1 => file.prop_map(|file| Act::Remove { file }),
        2 => Just(Act::SyncDir),
        1 => Just(Act::Crash),
    ];
    prop::collection::vec(act, 1..40)
}

fn perform(disk: &dyn Disk, dir: &Path, act: &Act) -> io::Result<()> {
    let path = |file: &u8| dir.join(format!("f{file}"));
    let open = |file: &u8| disk.open(&path(file), OpenMode::ExistingOrNew);
    match act {
        Act::Write { file, offset, len, byte } => {
            open(file)?.write_at(u64::from(*offset), &vec![*byte; usize::from(*len)])
        }
        Act::SetLen { file, len } => open(file)?.set_len(u64::from(*len)),
        Act::Sync { file } => open(file)?.sync(),
        Act::Rename { from, to } if from == to => Ok(()),
        Act::Rename { from, to } => disk.rename(&path(from), &path(to)),
        Act::Remove { file } => disk.remove(&path(file)),
        Act::SyncDir => disk.sync_dir(dir),
        Act::Crash => Ok(()),
    }
}

fn contents(disk: &dyn Disk, dir: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| {
        let file = disk.open(&dir.join(&name), OpenMode::Existing).expect("it is listed");
        let mut bytes = vec![0; usize::try_from(file.len().expect("a length")).expect("small")];
        file.read_at(0, &mut bytes).expect("all of it");
        (name, bytes)
    };
    disk.list(dir).expect("listed").into_iter().map(read).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    /// After any acts and crashes a loss of power leaves what the disk in memory leaves.
    #[test]
    fn it_loses_what_the_disk_in_memory_loses(acts in acts(), seed in 1..u64::MAX) {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join("files");
        let place = root.path().join("place");
        let (memory, mut power) = (MemoryDisk::new(), PowerDisk::open(&place).expect("opened"));
        memory.create_dir(&dir).expect("created");
        power.create_dir(&dir).expect("created");
        for act in &acts {
            if let Act::Crash = act {
                memory.crash();
                power.crash().expect("noted");
                power = PowerDisk::open(&place).expect("opened");
            }
            let one = perform(&memory, &dir, act);
            let two = perform(&power, &dir, act);
            prop_assert_eq!(one.is_ok(), two.is_ok(), "{:?}: {:?} and {:?}", act, one, two);
            prop_assert_eq!(contents(&memory, &dir), contents(&power, &dir));
        }
        let draws = || {
            let mut draws = Draws(seed);
            move || !draws.next().is_multiple_of(3)
        };
        memory.power_loss(draws());
        power.lose(draws()).expect("lost");
        prop_assert_eq!(contents(&memory, &dir), contents(&RealDisk, &dir));
        let left = RealDisk.list(&place).expect("listed");
        prop_assert!(left.is_empty(), "{:?} is left", left);
    }
}

#[test]
fn seeds_keep_nothing_something_or_nearly_all() {
    let mut shares = [false; 3];
    for seed in 1..60 {
        let root = tempfile::tempdir().expect("a directory");
        let disk = PowerDisk::open(&root.path().join("place")).expect("opened");
        let path = root.path().join("file");
        let file = disk.open(&path, OpenMode::New).expect("created");
        disk.sync_dir(root.path()).expect("synced");
        file.set_len(512 * 64).expect("grown");
        file.sync().expect("synced");
        file.write_at(0, &[1; 512 * 64]).expect("written");
        disk.power_loss(NonZeroU64::new(seed).expect("not 0")).expect("lost");
        let kept = fs::read(&path).expect("read").iter().filter(|byte| **byte == 1).count() / 512;
        shares[match kept {
            0 => 0,
            1..64 => 1,
            _ => 2,
        }] = true;
    }
    assert_eq!(shares, [true; 3]);
}
