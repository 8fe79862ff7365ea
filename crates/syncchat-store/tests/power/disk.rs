//! A disk under SQLite whose power can be cut, and that can be full or broken: a file layer (VFS) in front of the
//! system's own. It notes every write, truncation, sync and deletion of the files in one folder. From the notes
//! it makes what such a disk may hold after a cut: what was synced, and of what was written since any part, down to
//! sectors of 512 bytes.
#![allow(unsafe_code, reason = "SQLite's file layer is a table of C functions")]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use parking_lot::Mutex;
use rusqlite::ffi;

const SECTOR: usize = 512;

/// File name → bytes.
pub(crate) type Image = BTreeMap<String, Vec<u8>>;

/// What happened to the file of this name.
pub(crate) type Noted = (String, Op);

/// What can happen to a file.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Write {
        offset: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        len: usize,
    },
    Sync,
    /// A sync failed. What was written before it is on the disk or is not, and no later sync changes that: the system
    /// takes it for written.
    SyncFailed,
    /// Whether the folder was synced after it.
    Delete {
        synced: bool,
    },
    /// All that came before is on the disk, in all files.
    Settle,
}

/// Which calls fail, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// So many of these calls succeed first.
    pub(crate) after: usize,
    /// So many fail then.
    pub(crate) count: usize,
    /// SQLite's code for it. It also says which calls fail.
    pub(crate) code: c_int,
}

#[derive(Default)]
struct Disk {
    folder: PathBuf,
    ops: Vec<Noted>,
    fault: Option<Fault>,
    failed: usize,
}

static DISK: Mutex<Option<Disk>> = Mutex::new(None);
static REAL: AtomicPtr<ffi::sqlite3_vfs> = AtomicPtr::new(ptr::null_mut());

/// Notes what happens in this folder from now on, behind what happened to its files before.
pub(crate) fn watch(folder: &Path, before: Vec<Noted>) {
    install();
    *DISK.lock() = Some(Disk {
        folder: folder.to_owned(),
        ops: before,
        ..Disk::default()
    });
}

/// How many operations were noted.
pub(crate) fn noted() -> usize {
    DISK.lock().as_ref().map_or(0, |disk| disk.ops.len())
}

/// Takes the notes; nothing is noted after that.
pub(crate) fn take() -> Vec<Noted> {
    DISK.lock().take().map(|disk| disk.ops).unwrap_or_default()
}

/// Lets calls fail from now on, or no more. Gives how many have failed so far.
pub(crate) fn set_fault(fault: Option<Fault>) -> usize {
    DISK.lock().as_mut().map_or(0, |disk| {
        disk.fault = fault;
        disk.failed
    })
}

/// With what this call is to fail, if it is to.
fn fault_of(path: &str, codes: &[c_int]) -> Option<c_int> {
    let mut disk = DISK.lock();
    let disk = disk.as_mut()?;
    disk.name(path)?;
    let fault = disk.fault.as_mut()?;
    if !codes.contains(&fault.code) {
        return None;
    }
    if fault.after > 0 {
        fault.after -= 1;
        return None;
    }
    if fault.count == 0 {
        return None;
    }
    fault.count -= 1;
    disk.failed += 1;
    Some(fault.code)
}

fn note(path: &str, op: Op) {
    if let Some(disk) = DISK.lock().as_mut()
        && let Some(name) = disk.name(path)
    {
        disk.ops.push((name, op));
    }
}

impl Disk {
    /// The name of a file of the folder. The index of the log in shared memory is none: it is made anew after a cut.
    fn name(&self, path: &str) -> Option<String> {
        let name = Path::new(path).strip_prefix(&self.folder).ok()?.to_str()?;
        (!name.ends_with("-shm")).then(|| name.to_owned())
    }
}

/// Numbers by a seed.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }
}

/// How much of what was not synced has reached the disk.
#[derive(Debug, Clone, Copy)]
enum Luck {
    Nothing,
    All,
    /// Each write, or not.
    Writes,
    /// Each sector of each write, or not.
    Sectors,
}

impl Luck {
    fn draw(rng: &mut Rng) -> Luck {
        [Luck::Nothing, Luck::All, Luck::Writes, Luck::Sectors][rng.below(4)]
    }
}

/// The bytes that belong to a name, until the name is deleted.
#[derive(Default)]
struct Content<'a> {
    synced: Vec<u8>,
    unsynced: Vec<&'a Op>,
    /// SQLite has synced the folder too, with the first sync of a log that it had opened.
    folder_synced: bool,
}

/// What is on the disk for certain, and what may be.
#[derive(Default)]
struct Model<'a> {
    contents: Vec<Content<'a>>,
    /// What each name of the folder meant since the folder was synced, oldest first: an index of `contents`.
    names: BTreeMap<&'a str, Vec<Option<usize>>>,
}

impl<'a> Model<'a> {
    fn of(ops: &'a [Noted], rng: &mut Rng) -> Model<'a> {
        let mut model = Model::default();
        for (name, op) in ops {
            match op {
                Op::Settle => {
                    let contents = model.contents.iter_mut();
                    contents.for_each(|content| content.settle(Luck::All, rng));
                    model.sync_folder();
                }
                Op::Delete { synced } => {
                    model.names.entry(name).or_insert(vec![None]).push(None);
                    if *synced {
                        model.sync_folder();
                    }
                }
                Op::Sync => {
                    let content = model.content(name);
                    content.settle(Luck::All, rng);
                    let is_log = name.ends_with("-wal") || name.ends_with("-journal");
                    if is_log && !content.folder_synced {
                        content.folder_synced = true;
                        model.sync_folder();
                    }
                }
                Op::SyncFailed => {
                    let luck = Luck::draw(rng);
                    model.content(name).settle(luck, rng);
                }
                Op::Write { .. } | Op::Truncate { .. } => model.content(name).unsynced.push(op),
            }
        }
        model
    }

    /// What the name means now; a name that means nothing becomes a new file.
    fn content(&mut self, name: &'a str) -> &mut Content<'a> {
        let meanings = self.names.entry(name).or_insert(vec![None]);
        let at = match meanings.last() {
            Some(Some(at)) => *at,
            _ => {
                self.contents.push(Content::default());
                meanings.push(Some(self.contents.len() - 1));
                self.contents.len() - 1
            }
        };
        &mut self.contents[at]
    }

    fn sync_folder(&mut self) {
        for meanings in self.names.values_mut() {
            meanings.drain(..meanings.len() - 1);
        }
    }
}

impl Content<'_> {
    fn settle(&mut self, luck: Luck, rng: &mut Rng) {
        for op in self.unsynced.drain(..) {
            apply(&mut self.synced, op, luck, rng);
        }
    }
}

/// What the disk may hold if its power is cut after these operations. Each file and each name has a luck of its own.
pub(crate) fn cut(ops: &[Noted], rng: &mut Rng) -> Image {
    let mut model = Model::of(ops, rng);
    let mut image = Image::new();
    for (name, meanings) in model.names {
        let Some(at) = meanings[rng.below(meanings.len())] else {
            continue;
        };
        let luck = Luck::draw(rng);
        model.contents[at].settle(luck, rng);
        image.insert(name.to_owned(), model.contents[at].synced.clone());
    }
    image
}

/// What is in the files after these operations as long as the power is on.
pub(crate) fn cached(ops: &[Noted]) -> Image {
    let mut image = Image::new();
    for (name, op) in ops {
        match op {
            Op::Write { .. } | Op::Truncate { .. } => {
                let file = image.entry(name.clone()).or_default();
                apply(file, op, Luck::All, &mut Rng(1));
            }
            Op::Delete { .. } => drop(image.remove(name)),
            Op::Sync | Op::SyncFailed | Op::Settle => {}
        }
    }
    image
}

/// The operations that make this image.
pub(crate) fn making(image: &Image) -> Vec<Noted> {
    let write = |(name, bytes): (&String, &Vec<u8>)| {
        let (offset, bytes) = (0, bytes.clone());
        (name.clone(), Op::Write { offset, bytes })
    };
    let writes = image.iter().map(write);
    writes.chain([(String::new(), Op::Settle)]).collect()
}

fn apply(file: &mut Vec<u8>, op: &Op, luck: Luck, rng: &mut Rng) {
    let mut reaches = |luck| match luck {
        Luck::Nothing => false,
        Luck::All => true,
        Luck::Writes | Luck::Sectors => rng.below(2) == 0,
    };
    match op {
        Op::Truncate { len } if reaches(luck) => file.resize(*len, 0),
        Op::Write { offset, bytes } => {
            let whole = matches!(luck, Luck::Writes).then(|| reaches(luck));
            let mut at = 0;
            while at < bytes.len() {
                let place = offset + at;
                let end = bytes.len().min(at + SECTOR - place % SECTOR);
                if whole.unwrap_or_else(|| reaches(luck)) {
                    let until = offset + end;
                    if file.len() < until {
                        file.resize(until, 0);
                    }
                    file[place..until].copy_from_slice(&bytes[at..end]);
                }
                at = end;
            }
        }
        _ => {}
    }
}

/// A file as SQLite sees it. The real one follows it in memory, for SQLite was told how much both need.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    /// Made by `Box::into_raw` when it is opened, given back when it is closed.
    name: *mut String,
}

/// The file that the system's own layer opened.
fn real(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    file.cast::<u8>().wrapping_add(size_of::<File>()).cast()
}

/// The file's name.
fn name<'a>(file: *mut ffi::sqlite3_file) -> &'a str {
    // SAFETY: SQLite hands over only files that `open` has made and `close` has not closed, so `name` points to the
    // text that `open` left there.
    unsafe { &*(*file.cast::<File>()).name }
}

/// Calls the system's own function of this name on the real file.
macro_rules! pass_on {
    ($file:expr, $method:ident $(, $argument:expr)*) => {{
        let real = real($file);
        // SAFETY: `open` succeeded, so the real file has a table of functions, which are called with what SQLite
        // handed over for the same function of ours.
        unsafe {
            match (*(*real).pMethods).$method {
                Some(call) => call(real $(, $argument)*),
                None => ffi::SQLITE_ERROR,
            }
        }
    }};
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    path: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    let vfs = REAL.load(Ordering::Acquire);
    // SAFETY: `file` has room for ours and for the real one behind it (`szOsFile`), and `vfs` is the layer that the
    // system registered for ever.
    unsafe {
        (*file).pMethods = ptr::null();
        let Some(call) = (*vfs).xOpen else {
            return ffi::SQLITE_ERROR;
        };
        let code = call(vfs, path, real(file), flags, flags_out);
        if code == ffi::SQLITE_OK {
            let name = match path.is_null() {
                true => String::new(),
                false => CStr::from_ptr(path).to_string_lossy().into_owned(),
            };
            (*file.cast::<File>()).name = Box::into_raw(Box::new(name));
            (*file).pMethods = &METHODS;
        }
        code
    }
}

unsafe extern "C" fn delete(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    sync_folder: c_int,
) -> c_int {
    let vfs = REAL.load(Ordering::Acquire);
    // SAFETY: as in `open`; `path` is a text that ends with zero.
    unsafe {
        let name = CStr::from_ptr(path).to_string_lossy().into_owned();
        if let Some(code) = fault_of(&name, &[ffi::SQLITE_IOERR_DELETE]) {
            return code;
        }
        let Some(call) = (*vfs).xDelete else {
            return ffi::SQLITE_ERROR;
        };
        let code = call(vfs, path, sync_folder);
        if code == ffi::SQLITE_OK {
            let synced = sync_folder != 0;
            note(&name, Op::Delete { synced });
        }
        code
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let code = pass_on!(file, xClose);
    // SAFETY: `open` made it, and SQLite closes a file once.
    drop(unsafe { Box::from_raw((*file.cast::<File>()).name) });
    code
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    bytes: *mut c_void,
    count: c_int,
    offset: i64,
) -> c_int {
    match fault_of(name(file), &[ffi::SQLITE_IOERR_READ]) {
        Some(code) => code,
        None => pass_on!(file, xRead, bytes, count, offset),
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    count: c_int,
    offset: i64,
) -> c_int {
    let fault = fault_of(name(file), &[ffi::SQLITE_FULL, ffi::SQLITE_IOERR_WRITE]);
    // A disk that becomes full takes what still fits.
    let count = fault.map_or(count, |_| count / 2);
    let code = pass_on!(file, xWrite, bytes, count, offset);
    if code == ffi::SQLITE_OK {
        // SAFETY: SQLite hands over at least `count` bytes.
        let bytes = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), count as usize) };
        let (offset, bytes) = (offset as usize, bytes.to_vec());
        note(name(file), Op::Write { offset, bytes });
    }
    fault.unwrap_or(code)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: i64) -> c_int {
    if let Some(code) = fault_of(name(file), &[ffi::SQLITE_IOERR_TRUNCATE]) {
        return code;
    }
    let code = pass_on!(file, xTruncate, len);
    if code == ffi::SQLITE_OK {
        note(name(file), Op::Truncate { len: len as usize });
    }
    code
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    if let Some(code) = fault_of(name(file), &[ffi::SQLITE_IOERR_FSYNC]) {
        note(name(file), Op::SyncFailed);
        return code;
    }
    // The system's own sync is left out: what is on the real disk is asked of nobody.
    note(name(file), Op::Sync);
    ffi::SQLITE_OK
}

unsafe extern "C" fn size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    pass_on!(file, xFileSize, size)
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, kind: c_int) -> c_int {
    pass_on!(file, xLock, kind)
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, kind: c_int) -> c_int {
    pass_on!(file, xUnlock, kind)
}

unsafe extern "C" fn is_reserved(file: *mut ffi::sqlite3_file, answer: *mut c_int) -> c_int {
    pass_on!(file, xCheckReservedLock, answer)
}

unsafe extern "C" fn control(
    file: *mut ffi::sqlite3_file,
    op: c_int,
    argument: *mut c_void,
) -> c_int {
    pass_on!(file, xFileControl, op, argument)
}

unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    pass_on!(file, xSectorSize)
}

unsafe extern "C" fn characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    pass_on!(file, xDeviceCharacteristics)
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    page: c_int,
    size: c_int,
    extend: c_int,
    memory: *mut *mut c_void,
) -> c_int {
    pass_on!(file, xShmMap, page, size, extend, memory)
}

unsafe extern "C" fn shm_lock(
    file: *mut ffi::sqlite3_file,
    offset: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    pass_on!(file, xShmLock, offset, count, flags)
}

unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    let real = real(file);
    // SAFETY: as for every call that is passed on.
    unsafe {
        if let Some(call) = (*(*real).pMethods).xShmBarrier {
            call(real);
        }
    }
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, delete: c_int) -> c_int {
    pass_on!(file, xShmUnmap, delete)
}

/// Version 2: with shared memory, without files in memory, whose writes nobody would see.
static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(is_reserved),
    xFileControl: Some(control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Puts the layer in front of the system's own, for every file that this process opens from now on.
fn install() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        // SAFETY: the layer that is found is registered for ever, and a copy of it, with room for two files and with two
        // functions of ours, lives for ever too. The functions that are kept do not look at the layer they are called with.
        unsafe {
            let vfs = ffi::sqlite3_vfs_find(ptr::null());
            assert!(!vfs.is_null(), "SQLite has a file layer");
            REAL.store(vfs, Ordering::Release);
            let mut ours = *vfs;
            ours.szOsFile += size_of::<File>() as c_int;
            ours.pNext = ptr::null_mut();
            ours.zName = c"power".as_ptr();
            ours.xOpen = Some(open);
            ours.xDelete = Some(delete);
            let code = ffi::sqlite3_vfs_register(Box::into_raw(Box::new(ours)), 1);
            assert_eq!(code, ffi::SQLITE_OK);
        }
    });
}
