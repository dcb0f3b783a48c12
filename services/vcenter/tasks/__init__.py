"""Tasks of vCenter, one flow each, in the order of the documents' numbered lists.

- ``validity``      which of them are refused about a VM that is invalid (LOCK-02)
- ``vm``            CreateVm
- ``registration``  RegisterVm, UnregisterVm, DestroyVm
- ``encrypt``       EncryptVm
- ``recrypt``       RecryptVm, DecryptVm
- ``disks``         AddDisk, RemoveDisk
- ``vtpm``          AddVtpm, RemoveVtpm
- ``clone``         CloneVm
- ``snapshots``     CreateSnapshot, RemoveSnapshot, RevertToSnapshot, MarkAsTemplate,
  MarkAsVirtualMachine
- ``power``         PowerOnVm, PowerOffVm, CryptoUnlock
- ``migrate``       MigrateVm, ReconfigVm, and the evacuation of a host
- ``relocate``      RelocateVm: a VM that leaves for another vCenter
- ``departure``     how such a move ends here: it has left, it stays, or nobody knows yet
- ``arrive``        PrepareRelocation, EndRelocation: one that comes
- ``host``          AddHost, RemoveHost, ConfigureCryptoKey, ClearTpmRecord, AcknowledgeAlarm,
  PrepareCrypto, DisableCrypto, SetCryptoMode
- ``cluster``       ReconfigureComputeResource
- ``connection``    DisconnectHost, ReconnectHost, EnterMaintenanceMode, ExitMaintenanceMode
- ``provider``      RegisterKmsCluster, UnregisterKmsCluster, MarkDefault, SetDefaultKmsCluster
- ``kmip_entries``  what the entry of a provider's server may have, and its password
- ``kmip_trust``    RetrieveClientCert, GenerateSelfSignedClientCert, UploadClientCert,
  LoseClientKey, LoseKmipPasswords, RetrieveKmipServerCert, UploadKmipServerCert
- ``native``        CreateNativeProvider, UpdateNativeProvider, ExportProvider, DownloadExport,
  ImportProvider
- ``vsan``          VsanClusterReconfig, RekeyEncryptedCluster, objects and disks
- ``leaving_hosts``  passes that take something away from hosts, waited for
- ``keys``          GenerateKey, AddKey, RemoveKey, ListKeys
"""
