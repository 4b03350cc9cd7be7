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

/// Other allocators do it in their own time.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back() {}
