//! glibc's allocator: how much free memory it keeps, and when it returns it to the kernel.

/// Free memory at a heap's end that the allocator keeps for the next allocation.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const TRIM_THRESHOLD: libc::c_int = 8 * 1024 * 1024;
/// Larger allocations are mapped from the kernel and unmapped when they are freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MMAP_THRESHOLD: libc::c_int = 1024 * 1024;

/// Returns free memory to the kernel.
///
/// glibc returns what lies at a heap's end by itself, but keeps what is free between allocations
/// that are in use, so that the process would keep the size of its largest rush for ever. The
/// heaps are locked meanwhile, for milliseconds after a rush: call it rarely.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn trim() {
    // No crate has this call alone.
    #[expect(
        unsafe_code,
        reason = "malloc_trim(3) has no requirements; libc declares it so"
    )]
    // SAFETY: it may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Makes glibc keep enough free memory for bodies that flow. To be called before there are
/// threads.
///
/// Its default returns a heap's end as soon as 128 KiB of it are free, which are two chunks of a
/// body. For the next chunk the kernel then clears 16 pages again, which costs more than moving
/// the chunk.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn tune() {
    #[expect(
        unsafe_code,
        reason = "mallopt(3) has no requirements but to come early; libc declares it so"
    )]
    // SAFETY: it may be called at any time; before there are threads it races with nothing.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD);
    }
}

/// Other allocators decide by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn trim() {}

/// Other allocators decide by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn tune() {}
