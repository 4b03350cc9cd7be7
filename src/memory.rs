//! Memory that is free and still ours.

/// Gives memory that nothing uses back to the kernel.
///
/// glibc returns what lies at a heap's end by itself. What is free between things that are
/// in use it keeps, so that a rush would be seen in the process's size for ever. The heaps are
/// locked while this works: milliseconds after a rush, so it is not for every day.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn give_back() {
    // No crate gives this without more around it than it is.
    #[expect(
        unsafe_code,
        reason = "malloc_trim(3) has no requirements; libc declares it so"
    )]
    // SAFETY: it may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// So much that is free at a heap's end is kept for what comes next.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: libc::c_int = 8 * 1024 * 1024;
/// What is larger is had from the kernel, and given back to it at once.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED: libc::c_int = 1024 * 1024;

/// Has glibc keep enough at hand for bodies that flow.
///
/// By itself it gives a heap's end back as soon as 128 KiB of it are free: with two pieces of a
/// body. For the next piece the kernel then clears 16 pages again, which costs more than to
/// move it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn keep_at_hand() {
    #[expect(
        unsafe_code,
        reason = "mallopt(3) has no requirements but to come early; libc declares it so"
    )]
    // SAFETY: it may be called at any time; before there are threads nobody is in its way.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
    }
}

/// Other allocators do it in their own time.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back() {}

/// Other allocators judge by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_at_hand() {}
