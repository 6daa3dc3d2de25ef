//! Several calls of one kind in one: a line for each, and each is answered by itself.

use tollway_core::id::HoldId;

use crate::host::CallReply;

/// The body of a call about these holds. What is asked of each is JSON, which has no line breaks
/// here.
pub(crate) fn write<'a>(asked: impl Iterator<Item = (HoldId, &'a [u8])>) -> Vec<u8> {
    let mut lines = Vec::new();
    for (hold, body) in asked {
        lines.extend_from_slice(b"[\"");
        lines.extend_from_slice(hold.to_string().as_bytes());
        lines.extend_from_slice(b"\",");
        lines.extend_from_slice(body);
        lines.extend_from_slice(b"]\n");
    }
    lines
}

/// The reply to each hold; `None` unless it is one to all of them.
pub(crate) fn split(reply: &CallReply, holds: usize) -> Option<Vec<CallReply>> {
    if reply.status != Some(200) {
        return None;
    }
    let text = reply.body.strip_suffix(b"\n")?;
    let replies: Option<Vec<_>> = text.split(|byte| *byte == b'\n').map(read_line).collect();
    replies.filter(|replies| replies.len() == holds)
}

fn read_line(line: &[u8]) -> Option<CallReply> {
    let line = line.strip_prefix(b"[")?.strip_suffix(b"]")?;
    let comma = line.iter().position(|byte| *byte == b',')?;
    let (status, body) = (line.get(..comma)?, line.get(comma + 1..)?);
    let status = core::str::from_utf8(status).ok()?.parse().ok()?;
    Some(CallReply { status: Some(status), body: body.to_owned() })
}
