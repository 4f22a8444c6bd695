//! Range, Put and DeleteRange.

use anyhow::Result;
use etcd_client::{DeleteOptions, GetOptions, PutOptions, SortOrder, SortTarget};

use crate::stage::Stage;
use crate::tape::{about, hear};

pub(crate) async fn play(stage: &Stage) -> Result<()> {
    puts(stage).await?;
    ranges(stage).await?;
    sorted(stage).await?;
    deletes(stage).await
}

async fn puts(stage: &Stage) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let mut m2 = stage.client(2).await?;
    let mut strict = stage.strict_client(3).await?;
    let put = PutOptions::new;
    hear!(m1.put("a", "1", None));
    hear!(m1.put("a", "2", Some(put().with_prev_key())));
    hear!(m2.put("a", "3", Some(put().with_prev_key())));
    hear!(strict.put("strict", "1", None));
    hear!(m1.put("new", "1", Some(put().with_prev_key())));
    hear!(m1.put("empty", "", None));
    hear!(m1.put([0xff, 0x00, 0x80], [0x00, 0xfe], None));
    hear!(m1.put("long", "x".repeat(100_000), None));
    hear!(m1.put("", "no key", None));
    hear!(m1.put("a", "4", Some(put().with_lease(4_711))));
    hear!(m1.put("a", "", Some(put().with_ignore_value().with_prev_key())));
    hear!(m1.put("a", "5", Some(put().with_ignore_value())));
    hear!(m1.put("nobody", "", Some(put().with_ignore_value())));
    hear!(m1.put("a", "6", Some(put().with_ignore_lease())));
    hear!(m1.put("nobody", "7", Some(put().with_ignore_lease())));
    hear!(m1.put("a", "8", Some(put().with_ignore_lease().with_lease(1))));
    hear!(m1.put("large", "x".repeat(1_600_000), None));
    Ok(())
}

async fn ranges(stage: &Stage) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let mut m2 = stage.client(2).await?;
    let mut m3 = stage.client(3).await?;
    let mut strict = stage.strict_client(3).await?;
    for (key, value) in [("r/1", "c"), ("r/2", "b"), ("r/3", "a"), ("r/4", "d"), ("s", "e")] {
        hear!(m1.put(key, value, None));
    }
    let get = GetOptions::new;
    hear!(m1.get("a", None));
    hear!(m2.get("a", None));
    hear!(m3.get("a", None));
    hear!(strict.get("a", None));
    hear!(m1.get("nobody", None));
    hear!(m1.get("long", None));
    hear!(m1.get("", None));
    hear!(m1.get([0xff, 0x00, 0x80], None));
    hear!(m1.get("r/", Some(get().with_prefix())));
    hear!(m1.get("", Some(get().with_prefix().with_keys_only())));
    hear!(m1.get("r/2", Some(get().with_range("r/4"))));
    hear!(m1.get("r/4", Some(get().with_range("r/2"))));
    hear!(m1.get("r/4", Some(get().with_from_key())));
    hear!(m1.get("", Some(get().with_all_keys().with_keys_only())));
    hear!(m1.get("r/", Some(get().with_prefix().with_limit(2))));
    hear!(m1.get("r/", Some(get().with_prefix().with_limit(4))));
    hear!(m1.get("r/", Some(get().with_prefix().with_limit(-1))));
    hear!(m1.get("r/", Some(get().with_prefix().with_count_only())));
    hear!(m1.get("r/", Some(get().with_prefix().with_count_only().with_limit(1))));
    hear!(m1.get("r/", Some(get().with_prefix().with_keys_only())));
    stage.level().await?;
    hear!(m2.get("r/", Some(get().with_prefix().with_limit(1).with_serializable())));
    hear!(m1.get("a", Some(get().with_revision(3))));
    hear!(m1.get("a", Some(get().with_revision(2))));
    hear!(m1.get("r/", Some(get().with_prefix().with_revision(13))));
    hear!(m1.get("a", Some(get().with_revision(-5))));
    hear!(m1.get("a", Some(get().with_revision(1_000))));
    hear!(m1.get("a", Some(get().with_revision(1_000).with_serializable())));
    hear!(m1.get("r/", Some(get().with_prefix().with_min_mod_revision(14))));
    hear!(m1.get("r/", Some(get().with_prefix().with_max_mod_revision(13))));
    hear!(m1.get("r/", Some(get().with_prefix().with_min_create_revision(14).with_limit(1))));
    hear!(m1.get("r/", Some(get().with_prefix().with_max_create_revision(13).with_limit(1))));
    Ok(())
}

async fn sorted(stage: &Stage) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    // Versions that differ, so that nothing is left to a sort that need not be stable.
    for (key, times) in [("r/1", 3), ("r/2", 2), ("r/3", 4), ("r/4", 1)] {
        for time in 0..times {
            hear!(m1.put(key, format!("{key} {time}").into_bytes(), None));
        }
    }
    let targets = [
        SortTarget::Key,
        SortTarget::Version,
        SortTarget::Create,
        SortTarget::Mod,
        SortTarget::Value,
    ];
    for target in targets {
        for order in [SortOrder::None, SortOrder::Ascend, SortOrder::Descend] {
            about(&format!("{target:?} {order:?}"))?;
            let options = GetOptions::new().with_prefix().with_sort(target, order).with_limit(3);
            hear!(m1.get("r/", Some(options)));
        }
    }
    Ok(())
}

async fn deletes(stage: &Stage) -> Result<()> {
    let mut m1 = stage.client(1).await?;
    let mut m3 = stage.client(3).await?;
    let delete = DeleteOptions::new;
    hear!(m1.delete("nobody", None));
    hear!(m1.delete("", None));
    hear!(m1.delete("new", Some(delete().with_prev_key())));
    hear!(m1.get("new", None));
    hear!(m1.put("new", "again", None));
    hear!(m1.get("new", None));
    hear!(m3.delete("empty", None));
    hear!(m1.delete("r/2", Some(delete().with_range("r/2"))));
    hear!(m1.delete("r/2", Some(delete().with_range("r/4").with_prev_key())));
    hear!(m1.delete("r/", Some(delete().with_prefix().with_prev_key())));
    hear!(m1.delete("r/", Some(delete().with_prefix())));
    hear!(m1.delete("strict", Some(delete().with_from_key())));
    hear!(m1.get("", Some(GetOptions::new().with_all_keys().with_keys_only())));
    hear!(m1.delete("", Some(delete().with_all_keys().with_prev_key())));
    hear!(m1.get("", Some(GetOptions::new().with_all_keys())));
    Ok(())
}
