//! A real `nats-server` on loopback, for tests: started, killed, wiped and started again.

#[path = "ports.rs"]
mod ports;

use std::io::{self, BufRead, BufReader, Error, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;
use turnpike_runtime::tasks;

use ports::Port;

/// How long a server may take until it is ready, on a machine that builds at the same time.
const START: Duration = Duration::from_secs(60);

/// A server with a directory of its own; killed when it is dropped.
#[derive(Debug)]
pub struct NatsServer {
    directory: TempDir,
    address: SocketAddr,
    process: Option<Child>,
    _port: Port,
}

impl NatsServer {
    /// A server with JetStream to which everybody may do everything.
    ///
    /// # Errors
    /// If there is no `nats-server` in `.venv/bin` or on the path, or if it does not start.
    pub fn start() -> io::Result<Self> {
        Self::start_with("")
    }

    /// The same with further lines of configuration, such as an `authorization` block.
    ///
    /// # Errors
    /// As [`NatsServer::start`].
    pub fn start_with(configuration: &str) -> io::Result<Self> {
        let directory = TempDir::new()?;
        let stored = directory.path().join("jetstream");
        let text = format!("jetstream {{ store_dir: {stored:?} }}\n");
        std::fs::write(directory.path().join("nats.conf"), text + configuration)?;
        let port = ports::free()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port.number));
        let mut server = Self { directory, address, process: None, _port: port };
        server.launch()?;
        Ok(server)
    }

    /// `nats://127.0.0.1:port`, the same over restarts.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Ends the server as a power cut would (`kill -9`).
    ///
    /// # Errors
    /// The operating system's.
    pub fn kill(&mut self) -> io::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Starts the server again where it was.
    ///
    /// # Errors
    /// As [`NatsServer::start`].
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill()?;
        self.launch()
    }

    /// Kills the server and deletes all that JetStream kept.
    ///
    /// # Errors
    /// The operating system's.
    pub fn kill_and_wipe(&mut self) -> io::Result<()> {
        self.kill()?;
        std::fs::remove_dir_all(self.directory.path().join("jetstream"))
    }

    fn launch(&mut self) -> io::Result<()> {
        let port = self.address.port().to_string();
        let mut process = Command::new(binary())
            .args(["--addr", "127.0.0.1", "--port", &port, "--config"])
            .arg(self.directory.path().join("nats.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let log = process.stderr.take();
        self.process = Some(process);
        let log = log.ok_or_else(|| Error::other("nats-server has no log"))?;
        self.address = ready(log)?;
        Ok(())
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // Nothing can be done about a process that cannot be killed.
        drop(self.kill());
    }
}

/// The server that the Makefile installs from PyPI, or else the one on the path.
fn binary() -> PathBuf {
    let installed = |folder: &Path| folder.join(".venv/bin/nats-server");
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    folders.map(installed).find(|path| path.is_file()).unwrap_or_else(|| "nats-server".into())
}

/// Reads the log until the server is ready, and on until its end, so that it never blocks.
fn ready(log: ChildStderr) -> io::Result<SocketAddr> {
    let (sender, receiver) = mpsc::channel();
    tasks::thread("nats-log", move || {
        let mut address = None;
        let mut said = Vec::new();
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if let Some((_, text)) = line.split_once("Listening for client connections on ") {
                address = text.trim().parse().ok();
            }
            if line.contains("Server is ready") {
                // The starter may have given up.
                drop(sender.send(Ok(address)));
            }
            if line.contains("[ERR]") || line.contains("[FTL]") || !line.starts_with('[') {
                said.push(line);
            }
        }
        drop(sender.send(Err(said.join("\n"))));
    })?;
    match receiver.recv_timeout(START) {
        Ok(Ok(Some(address))) => Ok(address),
        Ok(Ok(None)) => Err(Error::other("nats-server does not say where it listens")),
        Ok(Err(said)) => Err(Error::other(format!("nats-server ended: {said}"))),
        Err(_) => Err(Error::new(ErrorKind::TimedOut, "nats-server is not ready in time")),
    }
}
