//! What the kernel knows of this machine and of a process.

use std::fs;
use std::thread::available_parallelism;

use serde_json::{Value, json};

use crate::Result;

/// Linux counts process time in hundredths of a second on every platform we run on.
const US_PER_TICK: f64 = 10_000.0;
/// V8 keeps at least this much address space free behind a memory of wasm.
const GUARD_BYTES: u64 = 1 << 31;

/// Cores, processor, kernel: what a reader needs to judge absolute numbers.
pub(crate) fn describe() -> Result<Value> {
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(json!({
        "cores": available_parallelism()?.get(),
        "cpu": model.map_or("unknown", |(_, name)| name.trim()),
        // Without the name that its builder gave it.
        "kernel": kernel.trim().split('-').next(),
        "memory_gb": (field_kb("/proc/meminfo", "MemTotal:")? / 1_048_576.0).round(),
    }))
}

/// The time this process has had, in user and in system mode.
pub(crate) fn cpu_us(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; utime and stime are the 14th and 15th fields.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next().unwrap_or_default().parse::<f64>();
    Ok((ticks()? + ticks()?) * US_PER_TICK)
}

/// Resident memory.
pub(crate) fn rss_mb(pid: u32) -> Result<f64> {
    Ok(field_kb(&format!("/proc/{pid}/status"), "VmRSS:")? / 1_024.0)
}

/// The largest linear memory of a wasm VM in this process.
///
/// V8 places each in front of gigabytes without access, so that an index out of bounds always
/// meets them: it is what is writable right before such a guard region.
pub(crate) fn wasm_memory_mb(pid: u32) -> Result<f64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let ranges: Vec<_> = maps.lines().filter_map(range).collect();
    let memories = ranges.windows(2).filter_map(|pair| match pair {
        [memory, guard]
            if memory.writable
                && !guard.writable
                && memory.end == guard.start
                && guard.end - guard.start >= GUARD_BYTES =>
        {
            Some(memory.end - memory.start)
        }
        _ => None,
    });
    let largest = memories.max().ok_or("expected a wasm VM in Envoy, but found none")?;
    Ok(largest as f64 / 1_048_576.0)
}

struct Range {
    start: u64,
    end: u64,
    writable: bool,
}

fn range(line: &str) -> Option<Range> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let address = |text: &str| u64::from_str_radix(text, 16).ok();
    let writable = fields.next()?.starts_with("rw");
    Some(Range { start: address(start)?, end: address(end)?, writable })
}

fn field_kb(file: &str, name: &str) -> Result<f64> {
    let text = fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    Ok(number.ok_or_else(|| format!("expected {name} in {file}"))?.parse()?)
}
