"use strict";
fetch("/.vdi/logout", { method: "POST", redirect: "manual" });
