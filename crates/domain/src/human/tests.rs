//! Sizes and times as the texts carry them.

use super::*;

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

#[test]
fn sizes_step_by_1024_with_one_decimal() {
    assert_eq!(ByteSize(152_253_030).to_string(), "145.2 MB");
    assert_eq!(ByteSize(1_932_735_283).to_string(), "1.8 GB");
    assert_eq!(ByteSize(0).to_string(), "0 B");
    assert_eq!(ByteSize(1023).to_string(), "1023 B");
    assert_eq!(ByteSize(1024).to_string(), "1.0 KB");
    assert_eq!(ByteSize(1024 * 1024 - 1).to_string(), "1.0 MB");
    assert_eq!(ByteSize(1 << 40).to_string(), "1.0 TB");
    assert_eq!(ByteSize(u64::MAX).to_string(), "16384.0 PB");
    assert_eq!(format!("{:>9}|", ByteSize(1024)), "   1.0 KB|");
}

#[test]
fn durations_read_as_in_the_texts() {
    assert_eq!(duration(Duration::from_millis(45_900)), "45s");
    assert_eq!(duration(secs(59)), "59s");
    assert_eq!(duration(secs(60)), "1m 00s");
    assert_eq!(duration(secs(79)), "1m 19s");
    assert_eq!(duration(secs(125)), "2m 05s");
    assert_eq!(duration(secs(3599)), "59m 59s");
    assert_eq!(duration(secs(3600)), "1h 00m");
    assert_eq!(duration(secs(7500)), "2h 05m");
    assert_eq!(duration(secs(30 * 3600)), "30h 00m");
    assert_eq!(minutes(secs(32 * 60 + 59)), "32m");
    assert_eq!(minutes(secs(7500)), "2h 05m");
}

#[test]
fn ages_are_rounded_down_to_one_unit() {
    assert_eq!(age(secs(12)), "12s");
    assert_eq!(age(secs(5 * 60 + 59)), "5m");
    assert_eq!(age(secs(3 * 3600)), "3h");
    assert_eq!(age(secs(47 * 3600)), "47h");
    assert_eq!(age(secs(48 * 3600)), "2 days");
}

#[test]
fn intervals_are_exact_to_the_minute() {
    assert_eq!(interval(secs(15 * 60)), "15m");
    assert_eq!(interval(secs(3600)), "1h");
    assert_eq!(interval(secs(5400)), "1h 30m");
    assert_eq!(interval(secs(24 * 3600)), "24h");
    assert_eq!(interval(secs(72 * 3600)), "3 days");
    assert_eq!(interval(secs(60 * 3600)), "2 days 12h");
    assert_eq!(interval(secs(7 * 86_400)), "7 days");
    assert_eq!(interval(secs(30)), "30s");
}
