//! Debian's nginx as a plain proxy: what the gateway is measured against.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use turnpike_runtime::clock::SharedClock;

use crate::failure::Failure;

const PROGRAM: &str = "/usr/sbin/nginx";
/// nginx starts within a few milliseconds; on a busy machine within some hundred.
const START_MS: u64 = 5_000;

/// A running nginx; it is stopped when this is dropped.
pub(crate) struct Nginx {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    master: Child,
    folder: TempDir,
}

impl Nginx {
    /// Starts nginx at `address` before `upstream`, one worker a core. It buffers answers as is its
    /// default, but for streams, which must reach the client as they come.
    ///
    /// # Errors
    /// Where it is not installed or does not come up.
    pub(crate) fn start(
        address: SocketAddr,
        upstream: SocketAddr,
        streams: bool,
        clock: &SharedClock,
    ) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(Failure::io("making a folder for nginx"))?;
        let configuration = configuration(folder.path(), address, upstream, streams);
        std::fs::write(folder.path().join("nginx.conf"), configuration)
            .map_err(Failure::io("writing nginx.conf"))?;
        let master = command(folder.path())
            .spawn()
            .map_err(Failure::io(format!("starting {PROGRAM}; is it installed?")))?;
        let nginx = Self { address, master, folder };
        let end_ms = clock.boot_ms() + START_MS;
        while TcpStream::connect(address).is_err() {
            if clock.boot_ms() > end_ms {
                return Err(Failure::Nginx(nginx.folder.path().to_owned()));
            }
            std::thread::yield_now();
        }
        Ok(nginx)
    }

    /// The process whose children do the work.
    pub(crate) fn pid(&self) -> u32 {
        self.master.id()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A killed master would leave its workers behind, so it is asked. If it cannot be asked it
        // never came up and has no workers.
        let asked = command(self.folder.path()).args(["-s", "stop"]).status();
        if !asked.is_ok_and(|status| status.success()) {
            drop(self.master.kill());
        }
        drop(self.master.wait());
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("-p").arg(folder).arg("-e").arg(folder.join("error.log"));
    command.arg("-c").arg(folder.join("nginx.conf"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn configuration(folder: &Path, listen: SocketAddr, upstream: SocketAddr, streams: bool) -> String {
    let buffering = if streams { "off" } else { "on" };
    let folder = folder.display();
    format!(
        "daemon off;
worker_processes auto;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 30000; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream provider {{
    server {upstream};
    keepalive 1024;
    keepalive_requests 1000000000;
  }}
  server {{
    listen {listen} reuseport;
    location / {{
      proxy_pass http://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_buffering {buffering};
    }}
  }}
}}
"
    )
}
